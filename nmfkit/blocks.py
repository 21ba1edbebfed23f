"""A block of rows of X, dense or CSR, behind one small interface.

Losses write elementwise formulas on `values` and hand them back with `like`; rules multiply with `dot`.
Neither ever asks which kind of block it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from nmfkit import kernels

Array: TypeAlias = npt.NDArray[Any]
"""A NumPy array, or any array that NumPy's own dispatch reaches."""


class Linear(Protocol):
    """Anything that multiplies a tall array: a block, its transpose."""

    @property
    def shape(self) -> tuple[int, int]:
        """(p, q)."""
        ...

    @property
    def T(self) -> Linear:
        """The transpose (q, p), for products."""
        ...

    def dot(self, b: Array) -> Array:
        """This (p, q) times `b` (q, r)."""
        ...


class Block(Linear, Protocol):
    """Rows `first` … `first + shape[0]` of X."""

    @property
    def first(self) -> int:
        """The number of its first row in X."""
        ...

    @property
    def whole(self) -> int:
        """The number of rows of X, 0 where it is not known."""
        ...

    @property
    def values(self) -> Array:
        """Every entry (rows, n) of a dense block, the stored entries (nnz,) of a CSR block."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the entries."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        ...

    def like(self, values: Array) -> Block:
        """The same pattern with other `values`."""
        ...

    def rows(self, lo: int, hi: int) -> Block:
        """Rows `lo` … `hi` of this block, without a copy where possible."""
        ...

    def take(self, rows: Array) -> Block:
        """The rows of these numbers, ascending, as a block of their own: a copy that knows no place in X.

        `rows` lie in the memory that the block lies in.
        """
        ...

    def dense(self) -> Array:
        """Every entry, (rows, n)."""
        ...

    def tdot(self, b: Array) -> Array:
        """The transpose of this (rows, n) times `b` (rows, r)."""
        ...

    @property
    def is_full(self) -> bool:
        """Whether every entry is stored, so that work by entry is on arrays that are there."""
        ...

    def squares(self) -> float:
        """The sum of all squared entries, in float64."""
        ...

    def place(self, at: int) -> tuple[int, int]:
        """Row and column in X of entry number `at` of `values`, counted along the rows."""
        ...

    def first_zero(self) -> int | None:
        """The number of the first entry that is zero, counted along the rows of the block; None without one."""
        ...

    def within(self, rows: int) -> Block:
        """The block with the number of rows of the matrix that it is part of, unless it has one.

        Many small tiles are worth compiling for.
        """
        ...


@dataclass(frozen=True)
class Transposed:
    """The transpose of a block, for products only."""

    of: Block

    @property
    def shape(self) -> tuple[int, int]:
        """(n, rows)."""
        rows, n = self.of.shape
        return (n, rows)

    @property
    def T(self) -> Block:
        """The block itself."""
        return self.of

    def dot(self, b: Array) -> Array:
        """xᵀ b, `b` (rows, r)."""
        return self.of.tdot(b)


@dataclass(frozen=True)
class Dense:
    """A dense block: `values` (rows, n); `whole` as `within` sets it."""

    values: Array
    first: int = 0
    whole: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, n)."""
        rows, n = self.values.shape
        return (rows, n)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the entries."""
        return self.values.dtype

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return int(self.values.nbytes)

    @property
    def T(self) -> Transposed:
        """The transpose, for products."""
        return Transposed(self)

    def like(self, values: Array) -> Dense:
        """The same rows with other `values`."""
        return Dense(values, self.first, self.whole)

    def rows(self, lo: int, hi: int) -> Dense:
        """Rows `lo` … `hi` of this block, a view."""
        return Dense(self.values[lo:hi], self.first + lo, self.whole)

    def take(self, rows: Array) -> Dense:
        """The rows of these numbers."""
        return Dense(self.values[rows], whole=self.whole)

    def dense(self) -> Array:
        """Every entry, (rows, n)."""
        return self.values

    def dot(self, b: Array) -> Array:
        """x b, `b` (n, r)."""
        return self.values @ b

    def tdot(self, b: Array) -> Array:
        """xᵀ b, `b` (rows, r)."""
        return self.values.T @ b

    def place(self, at: int) -> tuple[int, int]:
        """Row and column in X of entry number `at`."""
        row, column = divmod(at, self.shape[1])
        return (self.first + row, column)

    @property
    def is_full(self) -> bool:
        """All entries are."""
        return True

    def squares(self) -> float:
        """The sum of all squared entries, in float64."""
        return sum_of_squares(self.values)

    def first_zero(self) -> int | None:
        """The number of the first entry that is zero."""
        for i in range(self.shape[0]):  # most often one of the first rows holds one
            at = first_true(self.values[i] == 0)
            if at is not None:
                return i * self.shape[1] + at
        return None

    def within(self, rows: int) -> Dense:
        """The block as part of a matrix of so many rows."""
        return self if self.whole else replace(self, whole=rows)


@dataclass(frozen=True)
class CSR:
    """A sparse block in compressed rows: `values` (nnz,), `indices` (nnz,), `indptr` (rows + 1,), `n` columns.

    `whole` as `within` sets it.
    """

    values: Array
    indices: Array
    indptr: Array
    n: int
    first: int = 0
    whole: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, n)."""
        return (len(self.indptr) - 1, self.n)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the entries."""
        return self.values.dtype

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return int(self.values.nbytes + self.indices.nbytes + self.indptr.nbytes)

    @property
    def T(self) -> Transposed:
        """The transpose, for products."""
        return Transposed(self)

    def like(self, values: Array) -> CSR:
        """The same pattern with other `values`."""
        return replace(self, values=values)

    def rows(self, lo: int, hi: int) -> CSR:
        """Rows `lo` … `hi` of this block; values and indices are views."""
        a, b = int(self.indptr[lo]), int(self.indptr[hi])
        indptr = self.indptr[lo : hi + 1] - self.indptr[lo]
        return CSR(self.values[a:b], self.indices[a:b], indptr, self.n, self.first + lo, self.whole)

    def take(self, rows: Array) -> CSR:
        """The rows of these numbers."""
        stored = self.entries(rows)
        counts = self.indptr[rows + 1] - self.indptr[rows]
        indptr = np.zeros_like(self.indptr, shape=(len(rows) + 1,))
        indptr[1:] = np.cumsum(counts)
        return CSR(self.values[stored], self.indices[stored], indptr, self.n, whole=self.whole)

    def entries(self, rows: Array) -> Array:
        """Where the entries of these rows stand in `values`, one row after the other."""
        counts = self.indptr[rows + 1] - self.indptr[rows]
        ends = np.cumsum(counts)
        return np.repeat(self.indptr[rows] - (ends - counts), counts) + np.arange(int(counts.sum()), like=counts)

    def dense(self) -> Array:
        """Every entry, (rows, n)."""
        return kernels.csr_dense(self.values, self.indices, self.indptr, self.n)

    def dot(self, b: Array) -> Array:
        """x b, `b` (n, r)."""
        return kernels.csr_dot(self.values, self.indices, self.indptr, self.n, b, whole=self.whole)

    def tdot(self, b: Array) -> Array:
        """xᵀ b, `b` (rows, r)."""
        return kernels.csr_tdot(self.values, self.indices, self.indptr, self.n, b, whole=self.whole)

    def place(self, at: int) -> tuple[int, int]:
        """Row and column in X of stored entry number `at`."""
        row = int(np.searchsorted(self.indptr, at, side="right")) - 1
        return (self.first + row, int(self.indices[at]))

    @property
    def is_full(self) -> bool:
        """Zeros are not."""
        return False

    def squares(self) -> float:
        """The sum of all squared entries, in float64."""
        return sum_of_squares(self.values)

    def first_zero(self) -> int | None:
        """The number of the first entry that is zero, stored or not."""
        # Row by row: a dense copy of a sparse block could be far larger than the block.
        for i in range(self.shape[0]):
            at = first_true(self.rows(i, i + 1).dense()[0] == 0)
            if at is not None:
                return i * self.n + at
        return None

    def within(self, rows: int) -> CSR:
        """The block as part of a matrix of so many rows."""
        return self if self.whole else replace(self, whole=rows)


def joined(pieces: Sequence[Block]) -> Block:
    """The rows of all pieces, one after the other, in one block of one's own: views would keep the rest of X."""
    values = np.concatenate([piece.values for piece in pieces])
    rows = [piece for piece in pieces if isinstance(piece, CSR)]
    if not rows:
        return Dense(values, pieces[0].first)
    indices = np.concatenate([piece.indices for piece in rows])
    counts = np.concatenate([np.diff(piece.indptr) for piece in rows])
    indptr = np.zeros_like(counts, shape=(len(counts) + 1,), dtype=np.int64)
    indptr[1:] = np.cumsum(counts)
    return CSR(values, indices, indptr, rows[0].n, rows[0].first)


def sum_of_squares(a: Array) -> float:
    """‖a‖² in float64."""
    entries = a.astype(np.float64, copy=False).ravel()
    return float(entries @ entries)


def first_true(flags: Array) -> int | None:
    """Where the first of `flags` (k,) is that is true."""
    return int(np.argmax(flags)) if bool(flags.any()) else None
