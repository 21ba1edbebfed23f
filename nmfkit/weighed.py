"""A block of rows of X of which entries have weights, or are missing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nmfkit.blocks import CSR, Array, Dense, Transposed, first_true

ROUNDING = 8
"""Units in the last place by which a sum over all entries may be off."""


@dataclass(frozen=True)
class Weighed:
    """A block `x` of which each entry counts with a weight ≥ 0; where it is 0, the entry is missing, and x holds 0.

    `weights` has the shape of `x.values`. Entries that a CSR block does not store count `elsewhere`, 0 or 1. With
    `binary` every weight is 0 or 1. Products are those of x.
    """

    x: Dense | CSR
    weights: Array
    elsewhere: float = 1.0
    binary: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, n)."""
        return self.x.shape

    @property
    def first(self) -> int:
        """The number of its first row in X."""
        return self.x.first

    @property
    def whole(self) -> int:
        """The number of rows of X, 0 where it is not known."""
        return self.x.whole

    @property
    def values(self) -> Array:
        """Those of x, 0 where they are missing."""
        return self.x.values

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the entries."""
        return self.x.dtype

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.x.nbytes + int(self.weights.nbytes)

    @property
    def T(self) -> Transposed:
        """The transpose, for products."""
        return self.x.T

    def like(self, values: Array) -> Weighed:
        """The same pattern and weights with other `values`."""
        return replace(self, x=self.x.like(values))

    def rows(self, lo: int, hi: int) -> Weighed:
        """Rows `lo` … `hi` of this block, a view."""
        if isinstance(self.x, CSR):
            part = slice(int(self.x.indptr[lo]), int(self.x.indptr[hi]))
        else:
            part = slice(lo, hi)
        return replace(self, x=self.x.rows(lo, hi), weights=self.weights[part])

    def take(self, rows: Array) -> Weighed:
        """The rows of these numbers."""
        part = self.x.entries(rows) if isinstance(self.x, CSR) else rows
        return replace(self, x=self.x.take(rows), weights=self.weights[part])

    def dense(self) -> Array:
        """Every entry of x, (rows, n)."""
        return self.x.dense()

    def dot(self, b: Array) -> Array:
        """x b, `b` (n, r)."""
        return self.x.dot(b)

    def tdot(self, b: Array) -> Array:
        """xᵀ b, `b` (rows, r)."""
        return self.x.tdot(b)

    def place(self, at: int) -> tuple[int, int]:
        """Row and column in X of stored entry number `at`."""
        return self.x.place(at)

    @property
    def is_full(self) -> bool:
        """As of its entries."""
        return self.x.is_full

    def squares(self) -> float:
        """The sum of all squared entries, without their weights, in float64."""
        return self.x.squares()

    def first_zero(self) -> int | None:
        """The number of the first entry that is zero and not missing."""
        m, n = self.shape
        for i in range(m):
            row = self.rows(i, i + 1)
            at = first_true((row.dense()[0] == 0) & (row.spread()[0] > 0))
            if at is not None:
                return i * n + at
        return None

    def within(self, rows: int) -> Weighed:
        """The block as part of a matrix of so many rows."""
        return replace(self, x=self.x.within(rows))

    def spread(self) -> Array:
        """The weight of every entry, (rows, n)."""
        if not isinstance(self.x, CSR):
            return self.weights
        weights: Array = self.x.like(self.weights - self.weights.dtype.type(self.elsewhere)).dense()
        weights += weights.dtype.type(self.elsewhere)
        return weights

    def weigh(self, b: Array, *, turned: bool = False) -> Array:
        """ω b: the weights of every entry (rows, n) times `b` (n, r) ≥ 0; if `turned`, ωᵀ b with `b` (rows, r)."""
        base = self.elsewhere if isinstance(self.x, CSR) else 0.0
        off = self.x.like(self.weights - self.weights.dtype.type(base) if base else self.weights)
        weighed: Array = off.tdot(b) if turned else off.dot(b)
        if base:
            weighed = self.left(b.dtype.type(base) * np.sum(b, axis=0) * np.ones_like(weighed), -weighed, turned=turned)
        return weighed

    def left(self, everywhere: Array, gone: Array, *, turned: bool = False) -> Array:
        """What is left of sums ≥ 0 over all entries of each row, or column if `turned`, once `gone` is taken away.

        Nothing where all is missing; elsewhere no less than what rounding may have taken, since other sums are divided
        by it.
        """
        least = everywhere * everywhere.dtype.type(ROUNDING * np.finfo(everywhere.dtype).eps)
        rest: Array = everywhere - gone
        if bool(np.all(rest > least)):
            return rest
        known = self.observed()[int(turned)]
        kept: Array = np.where((known > 0)[:, None], np.maximum(rest, least), everywhere.dtype.type(0))
        return kept

    def observed(self) -> tuple[Array, Array]:
        """How many entries are not missing in each row (rows,), and in each column (n,)."""
        m, n = self.shape
        base = self.elsewhere if isinstance(self.x, CSR) else 0.0
        there = self.x.like((self.weights > 0).astype(np.float64) - base)
        rows = there.dot(np.ones_like(self.weights, shape=(n, 1), dtype=np.float64))[:, 0]
        columns = there.tdot(np.ones_like(self.weights, shape=(m, 1), dtype=np.float64))[:, 0]
        return (rows + base * n, columns + base * m)
