"""A CSR group written by many calls, wherever they run.

Each call writes the chunks that hold its entries alone, and leaves its pieces of the others as scratch files; a last
pass puts those together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import zarr

from nmfkit.errors import SourceError
from nmfkit.executors.each import Each
from nmfkit.sources.csr_parts import index_dtype
from nmfkit.sources.csr_write import Rechunked, create_csr
from nmfkit.sources.through import Through
from nmfkit.sources.tiles import Bounds
from nmfkit.sources.zarr_csr import ZarrCSR
from nmfkit.sources.zarr_write import CALL_BLOCKS, READ_BYTES, put

if TYPE_CHECKING:
    from nmfkit.protocols import Source

Array = npt.NDArray[Any]
Parts = dict[str, zarr.Array[Any]]


def write_csr(group: zarr.Group, source: Source, chunk_bytes: int, each: Each, scratch: Path) -> int:
    """Write a sparse source as the CSR `group` and return the number of entries; `scratch` is seen by every call.

    A call holds a block of about `READ_BYTES` while it is made canonical, and a chunk of each part. Raises
    `SourceError` where the source changes meanwhile.
    """
    blocks = source.bounds(READ_BYTES)
    runs = [blocks[i : i + CALL_BLOCKS] for i in range(0, len(blocks), CALL_BLOCKS)]
    counts = _stored(source, runs) or each(_Count(source), runs)
    for attempt in ("first", "second"):
        folder = scratch / attempt
        folder.mkdir(parents=True)
        starts = list(accumulate(counts, initial=0))
        parts = _fresh(group, source, chunk_bytes, starts[-1])
        found = each(_Write(source, parts, folder), list(zip(runs, pairwise(starts), strict=True)))
        if found == counts:
            rows = [0, *(run[-1][1] + 1 for run in runs)]
            cuts = {"data": starts, "indices": starts, "indptr": rows}
            each(_Join(parts, folder), [j for name, at in cuts.items() for j in _shared(name, parts[name], at)])
            return starts[-1]
        counts = found  # zeros or duplicates were stored, which the rows as read do not have
    raise SourceError(f"{source.uri}: the entries changed while they were read; convert it again")


def _stored(source: Source, runs: Sequence[Bounds]) -> list[int] | None:
    """The entries of each run where the source knows them without reading them."""
    while isinstance(source, Through):
        source = source.of
    if not isinstance(source, ZarrCSR):
        return None
    edges = source.entries_before([runs[0][0][0], *(run[-1][1] for run in runs)])
    return [b - a for a, b in pairwise(edges)]


def _fresh(group: zarr.Group, source: Source, chunk_bytes: int, nnz: int) -> Parts:
    for name in ("data", "indices", "indptr"):
        if name in group:
            del group[name]
    return create_csr(group, source.shape, source.dtype, index_dtype(source.shape[1]), chunk_bytes, nnz)


@dataclass(frozen=True, eq=False)
class _Count:
    """The entries of a run of blocks."""

    source: Source

    def __call__(self, run: Bounds) -> int:
        return sum(len(self.source.read(lo, hi).values) for lo, hi in run)


@dataclass(frozen=True, eq=False)
class _Write:
    """Writes the rows of a run of blocks, which are to be the entries `start` … `stop`; returns their number."""

    source: Source
    parts: Parts
    folder: Path

    def __call__(self, item: tuple[Bounds, tuple[int, int]]) -> int:
        run, (start, stop) = item
        lo = run[0][0]
        data, indices = self._part("data", start), self._part("indices", start)
        indptr = self._part("indptr", lo + 1 if lo else 0)
        if not lo:
            indptr.append(np.zeros(1, np.int64))
        at = start
        for a, b in run:
            block: Any = self.source.read(a, b)
            # Never beyond what is this call's: others write there.
            room = max(0, stop - at)
            data.append(block.values[:room])
            indices.append(block.indices[:room])
            indptr.append(block.indptr[1:].astype(np.int64) + at)
            at += len(block.values)
            del block  # before the next is read
        for part in (data, indices, indptr):
            part.finish()
        return at - start

    def _part(self, name: str, start: int) -> Rechunked:
        array = self.parts[name]
        return Rechunked(array, partial(_take, array, self.folder), start)


@dataclass(frozen=True, eq=False)
class _Join:
    """Writes a chunk from the pieces that several calls left."""

    parts: Parts
    folder: Path

    def __call__(self, item: tuple[str, list[tuple[int, int]]]) -> None:
        name, pieces = item
        array = self.parts[name]
        values = [np.load(_path(self.folder, array, start)) for start, _ in pieces]
        put(array, pieces[0][0], np.concatenate(values))


def _take(array: zarr.Array[Any], folder: Path, start: int, values: Array) -> None:
    """Write values that make a whole chunk; keep those that do not, under a name that tells where they belong."""
    if _is_whole(array, start, start + len(values)):
        put(array, start, values)
        return
    path = _path(folder, array, start)
    aside = path.with_name(f"{path.name}.{uuid4().hex}")
    with aside.open("wb") as file:
        np.save(file, values)
    aside.replace(path)  # the same call may run twice at once


def _path(folder: Path, array: zarr.Array[Any], start: int) -> Path:
    return folder / f"{array.basename}-{start}"


def _is_whole(array: zarr.Array[Any], start: int, stop: int) -> bool:
    chunk = array.chunks[0]
    return start % chunk == 0 and (stop - start == chunk or stop == array.shape[0])


def _shared(name: str, array: zarr.Array[Any], cuts: Iterable[int]) -> list[tuple[str, list[tuple[int, int]]]]:
    """The chunks that several runs, which end at `cuts`, have a part in: the pieces of each in order."""
    chunk, found = array.chunks[0], defaultdict(list)
    for start, stop in pairwise(cuts):
        if start == stop:
            continue
        first = (start, min(stop, start - start % chunk + chunk))
        last = (max(start, stop - 1 - (stop - 1) % chunk), stop)
        for piece in sorted({first, last}):
            if not _is_whole(array, *piece):
                found[piece[0] // chunk].append(piece)
    return [(name, pieces) for pieces in found.values()]
