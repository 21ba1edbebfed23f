"""The first look at the data: one sweep that finds everything that would spoil a fit, and its scale."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from nmfkit import kernels
from nmfkit.blocks import Array, Block
from nmfkit.errors import DataError
from nmfkit.sample import Picked, pick
from nmfkit.stats import Least


@dataclass(frozen=True)
class Probe:
    """What a matrix looks like.

    `total` is the sum of all entries and `squares` that of their squares, `nonzero` the number of entries > 0,
    `low` and `high` the range (zeros of a sparse matrix included), `row_zeros` and `column_zeros` the numbers
    of all-zero rows and columns. `columns` (n,) holds the column sums.
    """

    shape: tuple[int, int]
    total: float
    squares: float
    nonzero: int
    low: float
    high: float
    row_zeros: int
    column_zeros: int
    columns: Array = field(repr=False, compare=False)
    row_mix: float = 0.0
    """The sum of all entries, each row with a weight of its own: another order of rows has another sum."""
    column_mix: float = 0.0
    """The same by columns."""
    first_zero: tuple[int, int] | None = None
    """Row and column of the first zero entry, if there is any."""
    sample: Picked = field(default=Picked(), repr=False, compare=False)
    """The rows that were asked for."""

    def sums(self) -> dict[str, float]:
        """What is compared when a fit goes on later: together they notice almost any change of an entry."""
        return {
            "total": self.total,
            "squares": self.squares,
            "nonzero": self.nonzero,
            "low": self.low,
            "high": self.high,
            "row_mix": self.row_mix,
            "column_mix": self.column_mix,
        }

    def notes(self) -> list[str]:
        """What may surprise in such data, in plain words."""
        found = []
        if self.row_zeros:
            found.append(f"{self.row_zeros:,} of {self.shape[0]:,} rows are all zero; their rows of W go to zero")
        if self.column_zeros:
            found.append(
                f"{self.column_zeros:,} of {self.shape[1]:,} columns are all zero; their columns of H go to zero"
            )
        return found

    @property
    def mean(self) -> float:
        """The mean entry."""
        return self.total / (self.shape[0] * self.shape[1])


def look(x: Block, rows: Any, shared: Any) -> tuple[dict[str, Array], dict[str, Any]]:
    """The step of the probe sweep; raises `DataError` at the first offending entry of a block."""
    del rows
    found = _totals(x)
    _refuse(x, found.low, found.high)
    m, n = x.shape
    per_row = found.rows
    low = min(0.0, found.low) if x.values.size < m * n else found.low
    return {}, {
        "total": float(np.sum(per_row)),
        "squares": found.squares,
        "nonzero": float(found.positive),
        "low": Least(low),
        "high": Least(-found.high),
        "first_zero": Least(_first_zero(x, n, low)),
        "row_mix": float(np.sum(per_row * _weights(x.first + np.arange(m, like=per_row)))),
        "row_zeros": float(np.count_nonzero(per_row == 0)),
        "columns": found.columns,
        "sample": pick(x, shared["share"]) if shared["share"] else Picked(),
    }


class _Totals(NamedTuple):
    rows: Array
    columns: Array
    squares: float
    positive: int
    low: float
    high: float


def _totals(x: Block) -> _Totals:
    """Sums of rows and columns, squares, count and range of the entries that a block holds."""
    v, (m, n) = x.values, x.shape
    if v.size == m * n and v.ndim == 2 and v.size:
        return _Totals(*kernels.totals(v, whole=x.whole))
    columns = x.T.dot(np.ones_like(v, shape=(m, 1), dtype=np.float64))[:, 0]
    rows = x.dot(np.ones_like(v, shape=(n, 1), dtype=np.float64))[:, 0]
    with np.errstate(over="ignore"):  # entries of such a size are refused for it, later and with more to say
        squares = float(np.sum(np.square(v, dtype=np.float64)))
    low, high = (float(v.min()), float(v.max())) if v.size else (0.0, 0.0)
    return _Totals(rows, columns, squares, int(np.count_nonzero(v)), low, high)


def _weights(numbers: Array) -> Array:
    """A weight in [0, 1) for each number, far from those of its neighbours (multiples of the golden ratio)."""
    weights: Array = numbers * 0.6180339887498949 % 1.0
    return weights


def _first_zero(x: Block, n: int, low: float) -> float:
    """The number of the first zero entry counted along the rows of the whole matrix; inf without one."""
    if low > 0:
        return float("inf")
    # Row by row: a dense copy of a sparse block could be far larger than the block.
    for i in range(x.shape[0]):
        zero = x.rows(i, i + 1).dense()[0] == 0
        if bool(zero.any()):
            return float((x.first + i) * n + int(np.argmax(zero)))
    return float("inf")


def survey(sweep: Any, source: Any, *, empty: bool = False, share: float = 0.0) -> Probe:
    """Look at the whole of `source` by one sweep; raises `DataError` for what cannot be factorized.

    All zeros are refused, too, unless `empty` allows them. About `share` of the rows are brought along.
    """
    _, found = sweep(look, None, {"share": share}, tiles=not source.is_sparse)
    probe = _summary(source.shape, found)
    if probe.nonzero == 0 and not empty:
        m, n = source.shape
        raise DataError(f"the matrix ({m} × {n}) is all zero: there is nothing to factorize")
    return probe


def _summary(shape: tuple[int, int], stats: dict[str, Any]) -> Probe:
    columns, first = stats["columns"], stats["first_zero"].value
    return Probe(
        shape=shape,
        total=float(stats["total"]),
        squares=float(stats["squares"]),
        nonzero=int(stats["nonzero"]),
        low=stats["low"].value,
        high=-stats["high"].value,
        row_mix=float(stats["row_mix"]),
        column_mix=float(np.sum(columns * _weights(np.arange(len(columns), like=columns)))),
        row_zeros=int(stats["row_zeros"]),
        column_zeros=int(np.count_nonzero(columns == 0)),
        columns=columns,
        first_zero=None if np.isinf(first) else divmod(int(first), shape[1]),
        sample=stats["sample"],
    )


def _refuse(x: Block, low: float, high: float) -> None:
    # Two numbers decide; the search for the place runs only in a block that is bad.
    if low >= 0 and high < np.inf:
        return
    v = x.values
    for what, bad in (("NaN", np.isnan(v)), ("an infinite value", np.isinf(v)), ("a negative entry", v < 0)):
        if bool(bad.any()):
            at = int(np.argmax(bad.ravel()))
            (row, column), value = x.place(at), float(x.values.ravel()[at])
            count = int(np.count_nonzero(bad))
            raise DataError(
                f"the matrix holds {what} at row {row}, column {column} ({value!r}; {count} such in rows "
                f"{x.first}–{x.first + x.shape[0] - 1}): {_WAY_OUT[what]}"
            )


_WAY_OUT = {
    "NaN": "fill or drop missing entries first; nmfkit needs every entry known",
    "an infinite value": "replace it by a finite one, or drop its row or column",
    "a negative entry": "nonnegative factorization needs entries ≥ 0; shift, clip or take magnitudes first",
}
