"""Rows of the data ready to be compared with others: dense or sparse, float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nmfkit.blocks import CSR, Array, Block

PORTION = 2**20
"""Bytes of the differences of pairs that are held at once."""


@dataclass(frozen=True)
class Panel:
    """Rows `first` … `first + len(squares)` of the data: `values` (m, n), an array or compressed rows.

    `squares` (m,) are the sums of their squares.
    """

    values: Any
    squares: Array
    first: int

    def rows(self, lo: int, hi: int) -> Panel:
        """Rows `lo` … `hi` of these."""
        return Panel(self.values[lo:hi], self.squares[lo:hi], self.first + lo)

    def products(self, others: Panel) -> Array:
        """The products (m, p) of these rows with p others, rounded as the machine pleases."""
        found = self.values @ others.values.T
        return found if isinstance(found, np.ndarray) else found.toarray()

    def distances(self, mine: Array, others: Panel, theirs: Array) -> Array:
        """Squared distances of pairs: of rows `mine` (p,) of these to the rows `theirs` (p,) of others.

        Each depends on its two rows alone, to the bit.
        """
        return self._pairs(mine, others, theirs, lambda a, b: row_squares(a - b))

    def dots(self, mine: Array, others: Panel, theirs: Array) -> Array:
        """The products of pairs, as `distances`."""
        return self._pairs(mine, others, theirs, lambda a, b: row_sums(a * b))

    def _pairs(self, mine: Array, others: Panel, theirs: Array, value: Any) -> Array:
        found = np.empty(len(mine))
        step = max(1, int(PORTION // (8 * max(1.0, self._width(mine), others._width(theirs)))))
        for lo in range(0, len(mine), step):
            part = slice(lo, lo + step)
            found[part] = value(self.values[mine[part]], others.values[theirs[part]])
        return found

    def _width(self, rows: Array) -> float:
        """Entries held of each of these rows, on average."""
        if isinstance(self.values, np.ndarray):
            return float(self.values.shape[1])
        return float(np.mean(np.diff(self.values.indptr)[rows])) if len(rows) else 0.0


def panel(block: Block, exponents: Array | int) -> Panel:
    """The rows of `block` over 2 to the power of `exponents`, a number or one for each row (m,): exactly."""
    if not isinstance(block, CSR):
        dense = np.ldexp(block.dense().astype(np.float64), -np.reshape(exponents, (-1, 1)))
        return Panel(dense, row_squares(dense), block.first)
    from scipy.sparse import csr_array

    of_entries = np.repeat(np.broadcast_to(exponents, block.shape[:1]), np.diff(block.indptr))
    values = np.ldexp(block.values.astype(np.float64), -of_entries)
    rows = csr_array((values, block.indices, block.indptr), shape=block.shape)
    return Panel(rows, row_squares(rows), block.first)


def row_squares(rows: Any) -> Array:
    """Sums (m,) of the squares of rows (m, n)."""
    return row_sums(rows * rows)


def row_sums(rows: Any) -> Array:
    """Sums (m,) of rows (m, n), each in an order of its own length alone."""
    sums: Array = np.asarray(rows.sum(axis=1), dtype=np.float64)
    return sums
