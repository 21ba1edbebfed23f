"""Transposes on disk in two passes and bounded memory: each entry is read twice and written twice."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zarr

from nmfkit.blocks import CSR
from nmfkit.sources import tiles
from nmfkit.sources.csr_parts import index_dtype
from nmfkit.sources.zarr_dense import ZarrDense
from nmfkit.sources.zarr_store import Place
from nmfkit.sources.zarr_write import create

if TYPE_CHECKING:
    from nmfkit.protocols import Source

Array = npt.NDArray[Any]

MEMORY = 2**28
"""Bytes that a transpose holds at once."""

BINS = 2**20
"""Ranges of columns whose entries are counted, to cut the columns by."""


def transposed_dense(source: Source, scratch: Path, memory: int = MEMORY) -> Source:
    """The transpose (n, m) of a dense source, as tiles in `scratch`.

    Row blocks of X become column bands of tiles; tiles are so tall that a band of the result, read back as
    rows, fits in `memory` as well.
    """
    (m, n), size = source.shape, np.dtype(source.dtype).itemsize
    wide = min(m, max(1, memory // (2 * n * size)))
    tall = min(n, max(1, memory // (2 * m * size)))
    group = zarr.open_group(scratch, mode="w", zarr_format=3)
    array = create(group, "X", (n, m), (tall, wide), source.dtype)
    for lo, hi in tiles.even(m, wide):
        band = np.empty((n, hi - lo), source.dtype)
        for a, b in _cut(source, lo, hi):
            band[:, a - lo : b - lo] = source.read(a, b).values.T
        for c, d in tiles.even(n, tall):
            array[c:d, lo:hi] = band[c:d]
    return ZarrDense.open(array, Place.of(array), None, source.dtype)


def transposed_rows(source: Source, scratch: Path, memory: int = MEMORY) -> Iterator[CSR]:
    """The rows of the transpose (n, m) of a sparse source, as blocks in order.

    Entries are dealt into one file for each range of columns, then every range is sorted in memory.
    """
    (m, n), values = source.shape, np.dtype(source.dtype)
    record = np.dtype([("row", index_dtype(m)), ("column", index_dtype(n)), ("value", values)])
    starts = _ranges(source, record.itemsize, memory)
    scratch.mkdir()
    paths = [scratch / str(i) for i in range(len(starts) - 1)]
    for block in _blocks(source):
        entries = np.empty(len(block.values), record)
        entries["row"] = np.repeat(np.arange(block.shape[0]) + block.first, np.diff(block.indptr))
        entries["column"], entries["value"] = block.indices, block.values
        owner = np.searchsorted(starts, entries["column"], side="right") - 1
        for i in np.unique(owner):
            with paths[i].open("ab") as file:
                entries[owner == i].tofile(file)
    for path, lo, hi in zip(paths, starts[:-1], starts[1:], strict=True):
        entries = np.fromfile(path, record) if path.exists() else np.empty(0, record)
        yield _sorted_rows(entries, int(lo), int(hi), m)
        path.unlink(missing_ok=True)


def _sorted_rows(entries: Array, lo: int, hi: int, n: int) -> CSR:
    """Rows `lo` … `hi` of the transpose, from their entries in the order of its columns."""
    order = np.argsort(entries["column"], kind="stable")
    indptr = np.zeros(hi - lo + 1, np.int64)
    np.cumsum(np.bincount(entries["column"] - lo, minlength=hi - lo), out=indptr[1:])
    return CSR(entries["value"][order], entries["row"][order], indptr, n, lo)


def _ranges(source: Source, record: int, memory: int) -> Array:
    """Starts of column ranges of about equally many entries, each a quarter of `memory`; the last is n."""
    n = source.shape[1]
    # Where columns are very many, a count for each would be as large as what it is to spare.
    width = -(-n // BINS)
    counts = np.zeros(-(-n // width), np.int64)
    for block in _blocks(source):
        counts += np.bincount(block.indices // width, minlength=len(counts))
    ends = np.cumsum(counts)
    parts = max(1, ceil(int(ends[-1]) * record * 4 / memory))
    cuts = (np.searchsorted(ends, ends[-1] * np.arange(1, parts) / parts) + 1) * width
    # A range of many columns with few entries is bounded by its `indptr`.
    longest = np.arange(0, n, max(1, memory // 32))
    return np.unique(np.concatenate([[0], np.minimum(cuts, n), longest, [n]]))


def _blocks(source: Source) -> Iterator[Any]:
    return (source.read(lo, hi) for lo, hi in source.bounds(2**24))


def _cut(source: Source, lo: int, hi: int) -> list[tuple[int, int]]:
    """`lo` … `hi` along the source's own blocks."""
    blocks = source.bounds(2**25)
    return [(max(lo, a), min(hi, b)) for a, b in blocks if a < hi and b > lo]
