"""A matrix in memory that is read in the chunks it is told: what a layout may do to a fit, in small."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array, Block, Dense
from nmfkit.testing.strategies import sparse


class Chunked:
    """The matrix `x` (m, n) in blocks of the row ranges `chunks`, as CSR if `is_sparse`."""

    uri = "<chunked>"
    resident = False
    row_names: Sequence[str] | None = None
    feature_names: Sequence[str] | None = None

    def __init__(self, x: Array, chunks: Sequence[tuple[int, int]], *, is_sparse: bool = False) -> None:
        self.x, self.chunks, self.is_sparse = x, list(chunks), is_sparse

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n)."""
        m, n = self.x.shape
        return (m, n)

    @property
    def dtype(self) -> Any:
        """The dtype of the entries."""
        return self.x.dtype

    @property
    def nnz(self) -> int | None:
        """Nonzero entries if sparse."""
        return int(np.count_nonzero(self.x)) if self.is_sparse else None

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """The chunks, whatever the target."""
        del target_bytes
        return self.chunks

    def read(self, lo: int, hi: int) -> Block:
        """Rows `lo` … `hi`."""
        rows = np.array(self.x[lo:hi], order="C")
        return sparse(rows, first=lo) if self.is_sparse else Dense(rows, lo)


class Unreadable(Chunked):
    """A source whose entries may not be read, to see that nobody does."""

    def read(self, lo: int, hi: int) -> Block:
        """Refused."""
        raise AssertionError(f"rows {lo}–{hi - 1} were read, and the step needs no data")


class Counting(Chunked):
    """A source whose reads are counted under `number`, in whatever thread of this process they are done."""

    seen: ClassVar[Counter[int]] = Counter()

    def __init__(self, x: Array, chunks: Sequence[tuple[int, int]], number: int, *, is_sparse: bool = False) -> None:
        super().__init__(x, chunks, is_sparse=is_sparse)
        self.number = number

    def read(self, lo: int, hi: int) -> Block:
        """Rows `lo` … `hi`, counted."""
        self.seen[self.number] += 1
        return super().read(lo, hi)


@dataclass(frozen=True)
class Counted:
    """How often the blocks of a source are read, also where the source is pickled in between."""

    number: int
    is_sparse: bool = False

    _numbers: ClassVar[Any] = itertools.count()

    @classmethod
    def anew(cls, *, is_sparse: bool = False) -> Counted:
        """A count of its own."""
        return cls(next(cls._numbers), is_sparse)

    def source(self, x: Array, chunks: Sequence[tuple[int, int]]) -> Counting:
        """The source to be counted."""
        return Counting(x, chunks, self.number, is_sparse=self.is_sparse)

    def count(self) -> int:
        """Reads so far."""
        return Counting.seen[self.number]
