"""A matrix in memory that is read in the chunks it is told: what a layout may do to a fit, in small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
