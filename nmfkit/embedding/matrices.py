"""Rows to be compared: of what a caller hands over, of some rows of it, and of what a model makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from nmfkit.affinity.look import refuse
from nmfkit.blocks import CSR, Array, Block, joined
from nmfkit.errors import UsageError
from nmfkit.preprocessing import Shifted
from nmfkit.protocols import Source
from nmfkit.sources import open_source
from nmfkit.sources.array import ArraySource, SparseSource
from nmfkit.sources.observed import Observed
from nmfkit.sources.through import Through
from nmfkit.sources.zarr_write import READ_BYTES

View: TypeAlias = Callable[[Block], Block]
"""What is made of a block of rows."""


def matrix_of(given: Any, name: str) -> Source:
    """`given` (m, n) as a source: an array, lists, a DataFrame, a sparse matrix, a path, whatever `open_source` takes.

    Raises `UsageError` where entries are missing or weighed, for such rows have no distances, or are no numbers.
    """
    if isinstance(given, list | tuple) or (hasattr(given, "to_numpy") and hasattr(given, "columns")):
        given = _numbers(given, name)
    source = ArraySource(given, uri=name) if isinstance(given, np.ndarray) else open_source(given)
    if reason := hidden(source):
        raise UsageError(reason)
    return source


def _numbers(given: Any, name: str) -> Array:
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} is no matrix of numbers: {error}") from error


def hidden(source: Source) -> str:
    """Why rows of `source` have no distances; empty where they have."""
    if not isinstance(source, Observed):
        return ""
    return f"{source.uri}: entries are missing or have weights, and a distance of two rows needs all of their entries"


def some_rows(source: Source, numbers: Array | None) -> Source:
    """The rows of these `numbers`, ascending, as a matrix of their own in memory; `source` itself for None."""
    if numbers is None:
        return source
    blocks = (source.read(lo, hi) for lo, hi in source.bounds(READ_BYTES))
    pieces = [x.take(places) for x in blocks if len(places := within(numbers, x))]
    return matrix_from(pieces, source.uri)


def within(numbers: Array, x: Block) -> Array:
    """Which rows of a block have one of these `numbers`, ascending: places in the block."""
    a, b = (int(np.searchsorted(numbers, end)) for end in (x.first, x.first + x.shape[0]))
    places: Array = numbers[a:b] - x.first
    return places


def matrix_from(pieces: list[Block], uri: str) -> Source:
    """One matrix in memory of the rows of all pieces."""
    from scipy.sparse import csr_array

    block = joined(pieces)
    if isinstance(block, CSR):
        return SparseSource(csr_array((block.values, block.indices, block.indptr), block.shape), uri=uri)
    return ArraySource(block.dense(), uri=uri)


@dataclass(frozen=True)
class Viewed(Through):
    """What `view` makes of the rows of `of`, block by block.

    A sparse block plus one row for all is given without that row: distances are those of the rest.
    """

    view: View

    @cached_property
    def _row(self) -> Block:
        return self.read(0, 1)

    @property
    def shape(self) -> tuple[int, int]:
        """(m, N)."""
        return (self.of.shape[0], self._row.shape[1])

    @property
    def dtype(self) -> Any:
        """That of what is made."""
        return self._row.dtype

    @property
    def is_sparse(self) -> bool:
        """Whether blocks are CSR."""
        return isinstance(self._row, CSR)

    @property
    def nnz(self) -> None:
        """Nobody has counted."""
        return

    @property
    def same(self) -> bool:
        """Whether a block is left as it is."""
        block = self.of.read(0, 1)
        return self.view(block) is block

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Row ranges of about `target_bytes` each, as the view has them."""
        return self.of.bounds(max(1, target_bytes * self.of.shape[1] // self.shape[1]))

    def read(self, lo: int, hi: int) -> Block:
        """Rows `lo` … `hi`."""
        made = self.view(self.of.read(lo, hi))
        return made.sparse if isinstance(made, Shifted) else made


def whole_of(w: Source) -> Array:
    """All rows of a narrow matrix in one array (k, r); raises `DataError` for NaN and infinities."""
    blocks = [w.read(lo, hi) for lo, hi in w.bounds(READ_BYTES)]
    for block in blocks:
        refuse(block, w.uri)
    return np.concatenate([block.dense() for block in blocks])
