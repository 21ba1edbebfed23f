"""Reads from zarr arrays with little memory besides the result."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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

FETCH_BYTES = 2**22
"""Chunks in one of the requests that a distant store gets at once (one chunk at least)."""

FETCHES = 8
"""Most requests to a distant store at once. zarr asks for up to 10 chunks in each of them."""

FETCHED_BYTES = 2**26
"""Chunks of all requests at once (one chunk at least)."""

Selection = tuple[slice, ...]


def read_rows(array: zarr.Array[Any], lo: int, hi: int, out: npt.NDArray[Any], uri: str, what: str = "rows") -> None:
    """Fill `out` with `array[lo:hi]`, cast to its dtype; raises `SourceError` naming what cannot be read.

    One read of the whole range would decode many chunks at once beside the result; this takes few at a time, and
    more of a store that answers slowly.
    """

    def read(selection: Selection) -> None:
        first = selection[0]
        target = out[(slice(first.start - lo, first.stop - lo), *selection[1:])]
        try:
            _read_part(array, selection, target, uri)
        except (MemoryError, NmfkitError):
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise SourceError(f"{uri}: {what} {first.start} … {first.stop - 1} cannot be read: {reason}") from error

    if getattr(array.store, "distant", False):
        _fetch(read, _parts(array, lo, hi, out, FETCH_BYTES), _chunk_bytes(array))
        return
    for selection in _parts(array, lo, hi, out, GROUP_BYTES):
        read(selection)


def _fetch(read: Callable[[Selection], None], parts: list[Selection], chunk_bytes: int) -> None:
    """Every part, several at once: the time that a distant store takes to answer is spent but once for all of them.

    Threads, because zarr's own limit is one number for the whole process, local stores included.
    """
    at_once = min(FETCHES, len(parts), max(1, FETCHED_BYTES // max(FETCH_BYTES, chunk_bytes)))
    if at_once <= 1:
        for selection in parts:
            read(selection)
        return
    with ThreadPoolExecutor(at_once, "nmfkit-fetch") as pool:
        # In order, so that of several faults the first in the matrix is the one that is told.
        for _ in pool.map(read, parts):
            pass


def _read_part(array: zarr.Array[Any], selection: Selection, target: npt.NDArray[Any], uri: str) -> None:
    if array.dtype != target.dtype:
        values = array[selection]
        with in_range(values, target.dtype, uri):
            target[...] = values
        return
    buffer = default_buffer_prototype().nd_buffer.from_numpy_array(target)
    array.get_basic_selection(selection, out=buffer)


def _parts(array: zarr.Array[Any], lo: int, hi: int, out: npt.NDArray[Any], size: int) -> list[Selection]:
    """The selections that make up rows `lo` … `hi`, each of whole chunks of about `size` bytes."""
    row_step, column_step = _steps(array, size)
    rows = [slice(a, b) for a, b in _cuts(lo, hi, row_step)]
    if out.ndim == 1:
        return [(r,) for r in rows]
    columns = [slice(c, d) for c, d in _cuts(0, out.shape[1], column_step)]
    return [(r, c) for r in rows for c in columns]


def _steps(array: zarr.Array[Any], size: int) -> tuple[int, int]:
    """Rows and columns of a group of whole chunks of about `size` bytes."""
    chunks, chunk = array.chunks, _chunk_bytes(array)
    if array.ndim == 1:
        return (chunks[0] * max(1, size // chunk), 0)
    across = -(-array.shape[1] // chunks[1])
    if chunk * across > size:
        return (chunks[0], chunks[1] * max(1, size // chunk))
    return (chunks[0] * (size // (chunk * across)), array.shape[1])


def _chunk_bytes(array: zarr.Array[Any]) -> int:
    return max(1, int(np.prod(array.chunks)) * array.dtype.itemsize)


def _cuts(lo: int, hi: int, step: int) -> list[tuple[int, int]]:
    """`lo` … `hi` cut at the multiples of `step`."""
    edges = [lo, *range((lo // step + 1) * step, hi, step), hi]
    return list(pairwise(edges)) if hi > lo else []
