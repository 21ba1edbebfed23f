"""Reads from zarr arrays with little memory besides the result."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.core.buffer import default_buffer_prototype

from nmfkit.errors import NmfkitError, SourceError
from nmfkit.sources.checks import in_range

GROUP_BYTES = 2**24
"""Chunks decoded at once (one at least): zarr holds them beside the result, so this bounds the memory."""


def read_rows(array: zarr.Array[Any], lo: int, hi: int, out: npt.NDArray[Any], uri: str, what: str = "rows") -> None:
    """Fill `out` with `array[lo:hi]`, cast to its dtype; raises `SourceError` naming what cannot be read.

    One read of the whole range would decode many chunks at once beside the result; this takes few at a time.
    """
    row_step, column_step = _steps(array)
    for a, b in _cuts(lo, hi, row_step):
        for c, d in _cuts(0, out.shape[1], column_step) if out.ndim == 2 else [(0, 0)]:
            selection = (slice(a, b), slice(c, d)) if out.ndim == 2 else (slice(a, b),)
            target = out[(slice(a - lo, b - lo), *selection[1:])]
            try:
                _read_part(array, selection, target, uri)
            except (MemoryError, NmfkitError):
                raise
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                raise SourceError(f"{uri}: {what} {a} … {b - 1} cannot be read: {reason}") from error


def _read_part(array: zarr.Array[Any], selection: tuple[slice, ...], target: npt.NDArray[Any], uri: str) -> None:
    if array.dtype != target.dtype:
        values = array[selection]
        with in_range(values, target.dtype, uri):
            target[...] = values
        return
    buffer = default_buffer_prototype().nd_buffer.from_numpy_array(target)
    array.get_basic_selection(selection, out=buffer)


def _steps(array: zarr.Array[Any]) -> tuple[int, int]:
    """Rows and columns of a group of whole chunks of about `GROUP_BYTES`."""
    chunks = array.chunks
    size = max(1, int(np.prod(chunks)) * array.dtype.itemsize)
    if array.ndim == 1:
        return (chunks[0] * max(1, GROUP_BYTES // size), 0)
    across = -(-array.shape[1] // chunks[1])
    if size * across > GROUP_BYTES:
        return (chunks[0], chunks[1] * max(1, GROUP_BYTES // size))
    return (chunks[0] * (GROUP_BYTES // (size * across)), array.shape[1])


def _cuts(lo: int, hi: int, step: int) -> list[tuple[int, int]]:
    """`lo` … `hi` cut at the multiples of `step`."""
    edges = [lo, *range((lo // step + 1) * step, hi, step), hi]
    return list(pairwise(edges)) if hi > lo else []
