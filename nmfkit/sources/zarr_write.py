"""Zarr v3 arrays laid out for reading row blocks: dense chunks of whole rows, CSR parts in long chunks.

Every chunk is written, zero or not, with a checksum after the compressor: damage is noticed, never decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from nmfkit.blocks import CSR
from nmfkit.sources.zarr_store import COMPLETE

if TYPE_CHECKING:
    from nmfkit.protocols import Source

Array = npt.NDArray[Any]

READ_BYTES = 2**25
"""Size of the blocks that are read while writing."""

WIDE_ROW = 2**26
"""Bytes of a row above which a chunk holds only part of it."""

COUNTS = 0.2
"""Share of nonzero entries below which dense data compress best as counts."""


def create(
    group: zarr.Group,
    name: str,
    shape: Sequence[int],
    chunks: Sequence[int],
    dtype: Any,
    *,
    counts: bool = False,
) -> zarr.Array[Any]:
    """An array in `group`; `counts` compresses mostly-zero data harder."""
    size = np.dtype(dtype).itemsize
    blosc = (
        BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle", typesize=size)
        if counts
        else BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=size)
    )
    return group.create_array(
        name,
        shape=tuple(shape),
        chunks=tuple(max(1, c) for c in chunks),
        dtype=dtype,
        compressors=[blosc, Crc32cCodec()],
        attributes={COMPLETE: True},
        config={"write_empty_chunks": True},
    )


def write_names(group: zarr.Group, name: str, values: Sequence[str] | None) -> None:
    """Names as an array of text, nothing where there are none."""
    if values is None:
        return
    array = group.create_array(name, shape=(len(values),), chunks=(min(len(values), 2**16),), dtype="str")
    array[:] = np.array(list(values), dtype=np.dtypes.StringDType())


def write_dense(group: zarr.Group, name: str, source: Source, chunk_bytes: int) -> zarr.Array[Any]:
    """Write a dense source as `name` in chunks of whole rows of about `chunk_bytes`."""
    lo, hi = source.bounds(READ_BYTES)[0]
    first = source.read(lo, hi).values
    counts = bool(np.count_nonzero(first) < COUNTS * first.size)
    del first
    chunks = row_chunks(source.shape, np.dtype(source.dtype).itemsize, chunk_bytes)
    array = create(group, name, source.shape, chunks, source.dtype, counts=counts)
    for lo, values in _bands(source, chunks[0]):
        array[lo : lo + len(values)] = values
    return array


def row_chunks(shape: tuple[int, int], itemsize: int, chunk_bytes: int) -> tuple[int, int]:
    """The chunk shape: whole rows, or part of one row where a row is very wide."""
    m, n = shape
    if n * itemsize > WIDE_ROW:
        return (1, max(1, chunk_bytes // itemsize))
    return (min(m, max(1, chunk_bytes // (n * itemsize))), n)


def _bands(source: Source, rows: int) -> Iterator[tuple[int, Array]]:
    """The source in bands of `rows` rows, whatever its own chunks are; each is valid until the next."""
    band = np.empty((rows, source.shape[1]), source.dtype)
    start = filled = 0
    for lo, hi in source.bounds(READ_BYTES):
        values = source.read(lo, hi).values
        taken = 0
        while taken < len(values):
            step = min(rows - filled, len(values) - taken)
            band[filled : filled + step] = values[taken : taken + step]
            filled, taken = filled + step, taken + step
            if filled == rows:
                yield start, band
                start, filled = start + rows, 0
    if filled:
        yield start, band[:filled]


class CSRWriter:
    """Appends CSR rows to a group in AnnData's layout; memory is one chunk of each part and `indptr`."""

    def __init__(self, group: zarr.Group, shape: tuple[int, int], dtype: Any, indices: Any, chunk_bytes: int) -> None:
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": list(shape)})
        self._group, self._rows = group, shape[0]
        self._data = _Appender(group, "data", np.dtype(dtype), chunk_bytes)
        self._indices = _Appender(group, "indices", np.dtype(indices), chunk_bytes)
        self._counts: list[Array] = []

    def append(self, block: CSR) -> None:
        """Add the rows of `block` after those that are there."""
        self._data.append(block.values)
        self._indices.append(block.indices)
        self._counts.append(np.diff(block.indptr))

    def finish(self) -> int:
        """Write what is left and `indptr`; returns the number of entries."""
        self._data.finish()
        self._indices.finish()
        indptr = np.zeros(self._rows + 1, np.int64)
        np.cumsum(np.concatenate(self._counts), out=indptr[1:])
        create(self._group, "indptr", indptr.shape, (min(len(indptr), 2**20),), np.int64)[:] = indptr
        return int(indptr[-1])


class _Appender:
    """A 1-D array that grows by whole chunks."""

    def __init__(self, group: zarr.Group, name: str, dtype: np.dtype[Any], chunk_bytes: int) -> None:
        self._buffer = np.empty(max(1, chunk_bytes // dtype.itemsize), dtype)
        self._array = create(group, name, (0,), self._buffer.shape, dtype)
        self._filled = 0

    def append(self, values: Array) -> None:
        taken = 0
        while taken < len(values):
            step = min(len(self._buffer) - self._filled, len(values) - taken)
            self._buffer[self._filled : self._filled + step] = values[taken : taken + step]
            self._filled, taken = self._filled + step, taken + step
            if self._filled == len(self._buffer):
                self.finish()

    def finish(self) -> None:
        """Write the buffer; the last one may be part of a chunk."""
        start = self._array.shape[0]
        if self._filled:
            self._array.resize((start + self._filled,))
            self._array[start:] = self._buffer[: self._filled]
        self._filled = 0
