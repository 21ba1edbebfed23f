"""A sparse block plus one constant row: what a sparse block becomes when each column is mapped by a function.

Where f_j is the function of column j, f(x) is S + 1 cᵀ with c_j = f_j(0) and S = f(x) − c, which is zero where x is. So
S has no more entries than x, and products cost those of S and a product of rank one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nmfkit.blocks import CSR, Array, Dense, Transposed


@dataclass(frozen=True)
class Shifted:
    """The rows S + 1 cᵀ: `sparse` S (rows, n) and `row` c (n,), of one dtype.

    Products, `rows`, `take` and `squares` never form them. Everything by entry (`values`, `place`, `like`) is that of
    a dense block, and does.
    """

    sparse: CSR
    row: Array

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, n)."""
        return self.sparse.shape

    @property
    def first(self) -> int:
        """The number of its first row in X."""
        return self.sparse.first

    @property
    def whole(self) -> int:
        """The number of rows of X, 0 where it is not known."""
        return self.sparse.whole

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the entries."""
        return self.sparse.dtype

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.sparse.nbytes + int(self.row.nbytes)

    @property
    def T(self) -> Transposed:
        """The transpose, for products."""
        return Transposed(self)

    @property
    def values(self) -> Array:
        """Every entry, (rows, n)."""
        return self.dense()

    def like(self, values: Array) -> Dense:
        """The same rows with other `values` (rows, n)."""
        return Dense(values, self.first, self.whole)

    def rows(self, lo: int, hi: int) -> Shifted:
        """Rows `lo` … `hi` of this block; values and indices are views."""
        return replace(self, sparse=self.sparse.rows(lo, hi))

    def take(self, rows: Array) -> Shifted:
        """The rows of these numbers."""
        return replace(self, sparse=self.sparse.take(rows))

    def within(self, rows: int) -> Shifted:
        """The block as part of a matrix of so many rows."""
        return replace(self, sparse=self.sparse.within(rows))

    def dense(self) -> Array:
        """Every entry, (rows, n)."""
        full: Array = self.sparse.dense()
        full += self.row
        return full

    def dot(self, b: Array) -> Array:
        """S b + 1 (cᵀ b), `b` (n, r)."""
        product = self.sparse.dot(b)
        product += self.row @ b
        return product

    def tdot(self, b: Array) -> Array:
        """Sᵀ b + c (1ᵀ b), `b` (rows, r)."""
        product = self.sparse.tdot(b)
        sums = np.sum(b, axis=0, dtype=np.float64).astype(product.dtype)
        product += self.row[:, None] * sums
        return product

    @property
    def is_full(self) -> bool:
        """What is constant is not."""
        return False

    def squares(self) -> float:
        """The sum of all squared entries, in float64: those that S stores, and c² where it stores none."""
        s, c = self.sparse, self.row.astype(np.float64)
        absent = s.shape[0] - np.bincount(s.indices, minlength=s.n)
        stored = s.values + np.take(c, s.indices)
        return float(np.sum(stored * stored)) + float(np.sum(absent * (c * c)))

    def place(self, at: int) -> tuple[int, int]:
        """Row and column in X of entry number `at`."""
        row, column = divmod(at, self.shape[1])
        return (self.first + row, column)

    def first_zero(self) -> int | None:
        """The number of the first entry that is zero."""
        for i in range(self.shape[0]):
            at = Dense(self.rows(i, i + 1).dense()).first_zero()
            if at is not None:
                return i * self.shape[1] + at
        return None
