"""Zarr v3 arrays laid out for reading row blocks: dense chunks of whole rows, names.

Every chunk is written, zero or not, with a checksum after the compressor: damage is noticed, never decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore

from nmfkit.errors import StoreError
from nmfkit.executors.each import Each, serially
from nmfkit.sources import tiles
from nmfkit.sources.files import is_zarr
from nmfkit.sources.names import StoredNames
from nmfkit.sources.zarr_store import COMPLETE

if TYPE_CHECKING:
    from nmfkit.protocols import Source

Array = npt.NDArray[Any]

READ_BYTES = 2**25
"""Size of the blocks that are read while writing."""

CALL_BLOCKS = 8
"""Blocks for one call: enough that what two calls share at their edges, and read twice, is little."""

NAMES_CHUNK = 2**16

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


def put(array: zarr.Array[Any], start: int, values: Array) -> None:
    """Write `values` from row or entry `start` on; raises `StoreError` where the array is gone.

    A call that outlives its conversion, on a worker that was given up, must not bring the folder back.
    """
    store = array.store
    if isinstance(store, LocalStore) and not is_zarr(store.root / array.path):
        raise StoreError(f"{store.root / array.path} was removed while it was written")
    array[start : start + len(values)] = values


def write_names(group: zarr.Group, name: str, values: Sequence[str] | None, each: Each = serially) -> None:
    """Names as an array of text, a chunk at a time; nothing where there are none."""
    if values is None:
        return
    array = group.create_array(name, shape=(len(values),), chunks=(min(len(values), NAMES_CHUNK),), dtype="str")
    # Names in memory would travel with every call.
    spread = each if isinstance(values, StoredNames) else serially
    spread(_Names(array, values), tiles.even(len(values), CALL_BLOCKS * NAMES_CHUNK))


@dataclass(frozen=True, eq=False)
class _Names:
    """Copies a range of the names."""

    array: zarr.Array[Any]
    values: Sequence[str]

    def __call__(self, item: tuple[int, int]) -> None:
        for lo, hi in tiles.even(item[1] - item[0], NAMES_CHUNK):
            a, b = item[0] + lo, item[0] + hi
            put(self.array, a, np.array(list(self.values[a:b]), dtype=np.dtypes.StringDType()))


def write_dense(
    group: zarr.Group, name: str, source: Source, chunk_bytes: int, each: Each = serially
) -> zarr.Array[Any]:
    """Write a dense source as `name` in chunks of whole rows of about `chunk_bytes`; each call writes some chunks.

    A call holds a block of about `READ_BYTES`, or one row, and a chunk's rows.
    """
    blocks = source.bounds(READ_BYTES)
    first = source.read(*blocks[0]).values
    counts = bool(np.count_nonzero(first) < COUNTS * first.size)
    del first
    chunks = row_chunks(source.shape, np.dtype(source.dtype).itemsize, chunk_bytes)
    array = create(group, name, source.shape, chunks, source.dtype, counts=counts)
    each(_Rows(array, source), runs(blocks, chunks[0]))
    return array


@dataclass(frozen=True, eq=False)
class _Rows:
    """Copies the rows of a run of blocks."""

    array: zarr.Array[Any]
    source: Source

    def __call__(self, blocks: tiles.Bounds) -> None:
        for start, values in self._bands(blocks, self.array.chunks[0]):
            put(self.array, start, values)

    def _bands(self, blocks: tiles.Bounds, rows: int) -> Iterator[tuple[int, Array]]:
        """The blocks in bands of `rows` rows, however they are cut; each is valid until the next."""
        band = np.empty((rows, self.source.shape[1]), self.source.dtype)
        start, filled = blocks[0][0], 0
        for lo, hi in blocks:
            values = self.source.read(lo, hi).values
            taken = 0
            while taken < len(values):
                step = min(rows - filled, len(values) - taken)
                band[filled : filled + step] = values[taken : taken + step]
                filled, taken = filled + step, taken + step
                if filled == rows:
                    yield start, band
                    start, filled = start + rows, 0
            del values  # before the next are read
        if filled:
            yield start, band[:filled]


def runs(blocks: tiles.Bounds, rows: int) -> list[tiles.Bounds]:
    """Blocks in runs of about `CALL_BLOCKS` that end, but for the last, at a multiple of `rows`."""
    found: list[tiles.Bounds] = []
    run: tiles.Bounds = []
    for lo, hi in blocks:
        cut = hi - hi % rows
        if len(run) + 1 < CALL_BLOCKS or cut <= lo:
            run.append((lo, hi))
            continue
        found.append([*run, (lo, cut)])
        run = [(cut, hi)] if cut < hi else []
    return [*found, run] if run else found


def row_chunks(shape: tuple[int, int], itemsize: int, chunk_bytes: int) -> tuple[int, int]:
    """The chunk shape: whole rows, or part of one row where a row is very wide."""
    m, n = shape
    if n * itemsize > WIDE_ROW:
        return (1, max(1, chunk_bytes // itemsize))
    return (min(m, max(1, chunk_bytes // (n * itemsize))), n)
