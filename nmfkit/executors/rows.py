"""Where the rows of W live between sweeps: in memory, or in scratch files when they do not fit."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array
from nmfkit.protocols import Rows, RowStore


class ResidentRows:
    """All rows in memory, by factor name; `first` is the number of the first one."""

    lasting: ClassVar[bool] = True

    def __init__(self, factors: Rows, first: int = 0) -> None:
        self.factors, self.first = factors, first

    def read(self, lo: int, hi: int) -> Rows:
        """Views of the rows `lo` … `hi`."""
        return {name: f[lo - self.first : hi - self.first] for name, f in self.factors.items()}

    def part(self, lo: int, hi: int) -> ResidentRows:
        """The rows `lo` … `hi` alone."""
        return ResidentRows(self.read(lo, hi), lo)


class SpilledRows:
    """All rows in one scratch file a factor, deleted when nobody holds this object any more."""

    lasting: ClassVar[bool] = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, tuple[int, int, Any]] = {}

    def open(self, name: str, width: int, dtype: Any) -> None:
        """Make the scratch file of a factor."""
        path = self._folder / f"{name}-{uuid.uuid4().hex}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        path.unlink()  # lives as long as its descriptor: nothing stays behind, however the process ends
        self._files[name] = (descriptor, width, np.dtype(dtype))

    def read(self, lo: int, hi: int) -> Rows:
        """Copies of the rows `lo` … `hi`."""
        out = {}
        for name, (descriptor, width, dtype) in self._files.items():
            stride = width * dtype.itemsize
            raw = os.pread(descriptor, (hi - lo) * stride, lo * stride)
            out[name] = np.frombuffer(raw, dtype).reshape(hi - lo, width)
        return out

    def part(self, lo: int, hi: int) -> SpilledRows:
        """These: they are on disk, and only this process can read them."""
        del lo, hi
        return self

    def write(self, lo: int, rows: Rows) -> None:
        """Put the rows from `lo` on in place."""
        for name, f in rows.items():
            descriptor, width, dtype = self._files[name]
            data = memoryview(np.ascontiguousarray(f).tobytes())
            offset = lo * width * dtype.itemsize
            while data:
                written = os.pwrite(descriptor, data, offset)
                data, offset = data[written:], offset + written

    def __del__(self) -> None:
        for descriptor, _, _ in self._files.values():
            os.close(descriptor)


class RowWriter:
    """Collects the rows that a sweep makes, from any thread; `finish` gives the store of them all.

    `keep` makes a store of the rows in memory; without it they go to scratch files in `folder`.
    """

    def __init__(self, count: int, keep: Callable[[Rows], RowStore] | None, folder: Callable[[], Path]) -> None:
        self._count, self._keep, self._folder = count, keep, folder
        self._lock = threading.Lock()
        self._memory: dict[str, Array] = {}
        self._disk: SpilledRows | None = None

    def write(self, lo: int, rows: Rows) -> None:
        """Take the rows from `lo` on."""
        if not rows:
            return
        self._prepare(rows)
        if self._disk is not None:
            self._disk.write(lo, rows)
            return
        for name, f in rows.items():
            self._memory[name][lo : lo + len(f)] = f

    def block(self, lo: int, hi: int) -> None:
        """Nothing to do: every tile is in place already."""

    def finish(self) -> RowStore:
        """The store of all rows written."""
        if self._disk is not None:
            return self._disk
        return ResidentRows({}) if self._keep is None else self._keep(self._memory)

    def _prepare(self, rows: Rows) -> None:
        with self._lock:
            if self._memory or self._disk is not None:
                return
            if self._keep is not None:
                self._memory = {name: np.empty_like(f, shape=(self._count, f.shape[1])) for name, f in rows.items()}
                return
            disk = SpilledRows(self._folder())
            for name, f in rows.items():
                disk.open(name, f.shape[1], f.dtype)
            self._disk = disk
