"""Some rows of a matrix, picked while the probe goes over all of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from nmfkit.blocks import CSR, Array, Block, joined
from nmfkit.sources.array import ArraySource, SparseSource
from nmfkit.sources.through import Through

GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Picked:
    """Rows that were picked, block by block; the sum of two holds both, in their order."""

    pieces: tuple[Block, ...] = ()

    def __add__(self, other: Picked) -> Picked:
        return Picked(self.pieces + other.pieces)

    def source(self, whole: int) -> Sample:
        """The rows as a matrix of their own, picked from `whole` rows."""
        return Sample(self._matrix(), whole)

    def _matrix(self) -> ArraySource | SparseSource:
        from scipy.sparse import csr_array

        block = joined(self.pieces)
        if isinstance(block, CSR):
            matrix = csr_array((block.values, block.indices, block.indptr), block.shape)
            return SparseSource(matrix, uri="a sample of rows")
        return ArraySource(block.dense(), uri="a sample of rows")


@dataclass(frozen=True)
class Sample(Through):
    """Picked rows whose blocks know of how many they are: what pays for all of these pays for the sample."""

    whole: int

    @property
    def dtype(self) -> Any:
        """That of the data."""
        return self.of.dtype

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Row ranges of about `target_bytes` each."""
        return self.of.bounds(target_bytes)

    def read(self, lo: int, hi: int) -> Block:
        """Rows `lo` … `hi`."""
        return self.of.read(lo, hi).within(self.whole)


def pick(x: Block, share: float) -> Picked:
    """The rows of a block that belong to a sample of about `share` of all rows; rows alone decide, not blocks."""
    lo, hi = x.first, x.first + x.shape[0]
    chosen = np.flatnonzero(is_picked(np.arange(lo, hi), share))
    pieces = [x.rows(int(a), int(b) + 1) for a, b in _runs(chosen)]
    return Picked((joined(pieces),) if pieces else ())


def is_picked(numbers: Array, share: float) -> Array:
    """Whether the rows of these `numbers` belong to the sample: spread evenly, and in step with no period."""
    picked: Array = numbers * GOLDEN % 1.0 < share
    return picked


def _runs(chosen: Array) -> list[tuple[Any, Any]]:
    """(first, last) of each run of neighbours."""
    if not len(chosen):
        return []
    breaks = np.flatnonzero(np.diff(chosen) > 1) + 1
    edges = [0, *breaks.tolist(), len(chosen)]
    return [(chosen[a], chosen[b - 1]) for a, b in pairwise(edges)]
