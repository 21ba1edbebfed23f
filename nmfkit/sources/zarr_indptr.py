"""The `indptr` of a CSR group in zarr, which may be as long as there are rows, a window at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.sources.csr_parts import STRETCH, Stretch
from nmfkit.sources.zarr_read import read_rows
from nmfkit.sources.zarr_store import Place

Array = npt.NDArray[Any]


class StoredIndptr:
    """`indptr` (rows + 1,) at `place`, as int64; raises `SourceError` where values cannot be read.

    Memory is a window of about `STRETCH` values, whole chunks, for each thread: blocks that a thread reads in order
    decode each chunk once.
    """

    def __init__(self, place: Place) -> None:
        self._array, self._uri = place.open_array(), str(place)
        chunk = self._array.chunks[0]
        self._step = chunk * max(1, STRETCH // chunk)
        self._last = threading.local()

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows + 1,) where the group is sound."""
        return self._array.shape

    def stretches(self) -> Iterator[Stretch]:
        """All values in order."""
        return ((start, self._load(start)) for start in range(0, self.shape[0], self._step))

    def read(self, lo: int, hi: int) -> Array:
        """The values `lo` … `hi`."""
        out = np.empty(hi - lo, np.int64)
        for start in range(lo - lo % self._step, hi, self._step):
            a, b = max(lo, start), min(hi, start + self._step)
            out[a - lo : b - lo] = self._window(start)[a - start : b - start]
        return out

    def _window(self, start: int) -> Array:
        if getattr(self._last, "start", None) != start:
            self._last.start = self._last.values = None  # two windows at once would be twice the memory
            self._last.values, self._last.start = self._load(start), start
        values: Array = self._last.values
        return values

    def _load(self, start: int) -> Array:
        stop = min(start + self._step, self.shape[0])
        values = np.empty(stop - start, self._array.dtype)
        read_rows(self._array, start, stop, values, self._uri, "entries")
        return values.astype(np.int64, copy=False)
