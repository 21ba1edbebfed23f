"""Memory-mapped arrays: pickled as the name of their file, and their pages let go after a read."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.errors import SourceError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Mapped:
    """Where in a file an array lies: byte `offset`, `strides` in bytes."""

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    def open(self) -> Array:
        """Map the file again; raises `SourceError` where it is gone or too short."""
        try:
            whole = np.memmap(self.path, dtype=np.uint8, mode="r")
            array = np.ndarray(self.shape, self.dtype, buffer=whole, offset=self.offset, strides=self.strides)
            return array.view(np.memmap)
        except (OSError, ValueError, TypeError) as error:
            raise SourceError(f"{self.path}: cannot be mapped again: {error}") from error


def portable(array: Array) -> Array | Mapped:
    """What to pickle for `array`: its place in a file where it is mapped from one, else itself."""
    whole = _whole(array)
    # A copy-on-write map may differ from its file, so it travels by value.
    if whole is None or whole.mode == "c" or whole.filename is None:
        return np.asarray(array)
    offset = _address(array) - _address(whole) + whole.offset
    return Mapped(str(Path(whole.filename).resolve()), array.dtype, array.shape, array.strides, offset)


def mapping(array: Array) -> Any:
    """The `mmap` under `array` whose pages may be let go, None where there is none."""
    whole = _whole(array)
    return None if whole is None or whole.mode == "c" else whole.base


def release(pages: Any) -> None:
    """Let go of the resident pages of a mapping; they are read again from the file when next touched."""
    if hasattr(pages, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)


def _whole(array: Any) -> Any:
    """The memory map that `array` is a view of, None where there is none."""
    while array is not None and not (isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap)):
        array = getattr(array, "base", None)
    return array


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])
