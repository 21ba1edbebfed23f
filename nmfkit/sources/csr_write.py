"""A CSR group in AnnData's layout, written block after block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from nmfkit.blocks import CSR
from nmfkit.sources.zarr_write import create, put

Array = npt.NDArray[Any]

INDPTR_CHUNK = 2**20


def create_csr(
    group: zarr.Group, shape: tuple[int, int], dtype: Any, indices: Any, chunk_bytes: int, nnz: int
) -> dict[str, zarr.Array[Any]]:
    """The three arrays of a CSR matrix of `nnz` entries, still to be filled, in chunks of about `chunk_bytes`."""
    group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": list(shape)})
    entries = {
        name: create(group, name, (nnz,), (chunk_bytes // np.dtype(kind).itemsize,), np.dtype(kind))
        for name, kind in (("data", dtype), ("indices", indices))
    }
    rows = shape[0] + 1
    return {**entries, "indptr": create(group, "indptr", (rows,), (min(rows, INDPTR_CHUNK),), np.dtype(np.int64))}


class CSRWriter:
    """Appends CSR rows to a group in AnnData's layout; memory is one chunk of each part."""

    def __init__(self, group: zarr.Group, shape: tuple[int, int], dtype: Any, indices: Any, chunk_bytes: int) -> None:
        parts = create_csr(group, shape, dtype, indices, chunk_bytes, 0)
        self._data, self._indices, self._indptr = (_appender(parts[name]) for name in ("data", "indices", "indptr"))
        self._indptr.append(np.zeros(1, np.int64))
        self._entries = 0

    def append(self, block: CSR) -> None:
        """Add the rows of `block` after those that are there."""
        self._data.append(block.values)
        self._indices.append(block.indices)
        self._indptr.append(block.indptr[1:].astype(np.int64) + self._entries)
        self._entries += len(block.values)

    def finish(self) -> int:
        """Write what is left; returns the number of entries."""
        for part in (self._data, self._indices, self._indptr):
            part.finish()
        return self._entries


class Rechunked:
    """Values of a 1-D array from number `start` on, in portions of any size, handed on cut where its chunks are.

    `take` gets the number of the first and the values, which are valid until it returns.
    """

    def __init__(self, array: zarr.Array[Any], take: Callable[[int, Array], None], start: int = 0) -> None:
        self._chunk, self._take = array.chunks[0], take
        self._buffer = np.empty(self._chunk, array.dtype)
        self._start = self._end = start

    def append(self, values: Array) -> None:
        """Add values after those that are there."""
        taken = 0
        while taken < len(values):
            limit = self._start - self._start % self._chunk + self._chunk
            step = min(limit - self._end, len(values) - taken)
            at = self._end - self._start
            self._buffer[at : at + step] = values[taken : taken + step]
            self._end, taken = self._end + step, taken + step
            if self._end == limit:
                self.finish()

    def finish(self) -> None:
        """Hand on what is left, which may be part of a chunk."""
        if self._end > self._start:
            self._take(self._start, self._buffer[: self._end - self._start])
        self._start = self._end


def _appender(array: zarr.Array[Any]) -> Rechunked:
    """Writes into an array that grows where it must."""

    def take(start: int, values: Array) -> None:
        stop = start + len(values)
        if stop > array.shape[0]:
            array.resize((stop,))
        put(array, start, values)

    return Rechunked(array, take)
