"""The first look at the data: one sweep that finds everything that would spoil a fit, and its scale."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from nmfkit import kernels
from nmfkit.blocks import Array, Block
from nmfkit.errors import DataError
from nmfkit.sample import Picked, pick
from nmfkit.stats import Least
from nmfkit.weighed import Weighed

EMPTY = {
    "nmf": {"rows": "their rows of W go to zero", "columns": "their columns of H go to zero"},
    "embedding": {"rows": "their rows of W are alike", "columns": "there is nothing to learn from them"},
}
"""What becomes of rows and columns that are all zero: an encoder has no zero to give."""

LOPSIDED = 1e-6
"""How far the sums of a row and of its column of a symmetric matrix may differ, to the sum of their sizes."""


@dataclass(frozen=True)
class Probe:
    """What a matrix looks like.

    `total` is the sum of all entries and `squares` that of their squares, `nonzero` the number of those other than 0,
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
    observed: float | None = None
    """How many entries are not missing, where some may be."""
    weight_mix: float | None = None
    """The sum of all weights, each with a weight of its own, by row and column; None where every entry counts alike."""
    hidden_rows: int = 0
    """Rows of which every entry is missing."""
    hidden_columns: int = 0
    """Columns of which every entry is missing."""
    embeds: bool = False
    """Whether rows of W are to be made of rows of X, as an embedding of them."""

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
            **({} if self.weight_mix is None else {"weight_mix": self.weight_mix}),
        }

    def notes(self) -> list[str]:
        """What may surprise in such data, in plain words."""
        told, (m, n) = empty_text(self.embeds), self.shape
        found = []
        if self.row_zeros:
            found.append(f"{self.row_zeros:,} of {m:,} rows are all zero; {told['rows']}")
        if self.column_zeros:
            found.append(f"{self.column_zeros:,} of {n:,} columns are all zero; {told['columns']}")
        return [*found, *self._missing()]

    def _missing(self) -> list[str]:
        m, n = self.shape
        if self.observed is None:
            return []
        found = [f"{m * n - self.observed:,.0f} of {m * n:,} entries are missing and left out of the objective"]
        for count, of, what, factor in (
            (self.hidden_rows, m, "rows have no entry that is known; their rows of W", "W"),
            (self.hidden_columns, n, "columns have no entry that is known; their columns of H", "H"),
        ):
            if count:
                found.append(f"{count:,} of {of:,} {what} keep their starting values, unless {factor} is regularized")
        return found

    @property
    def mean(self) -> float:
        """The mean entry, of those that are not missing; the root of the mean square where some are negative."""
        count = self.shape[0] * self.shape[1] if self.observed is None else max(1.0, self.observed)
        return math.sqrt(self.squares / count) if self.low < 0 else self.total / count

    @property
    def size(self) -> float:
        """The mean of the entries other than 0; the root of their mean square where some are negative."""
        return math.sqrt(self.squares / self.nonzero) if self.low < 0 else self.total / self.nonzero


def empty_text(embeds: bool) -> dict[str, str]:
    """What becomes of "rows" and of "columns" that are all zero, in a model that `embeds` or in any other."""
    return EMPTY["embedding" if embeds else "nmf"]


def look(x: Block, rows: Any, shared: Any) -> tuple[dict[str, Array], dict[str, Any]]:
    """The step of the probe sweep; raises `DataError` at the first offending entry of a block."""
    del rows
    found = _totals(x)
    _refuse(x, found.low, found.high, signed=shared["signed"], way=shared["way"])
    sized = _totals(x.like(np.abs(x.values))) if found.low < 0 else found  # sums of entries of both signs may vanish
    m, n = x.shape
    per_row = found.rows
    at, low = _lowest(x, found)
    return {}, {
        **_observed(x, sized.rows),
        **(_turned(x, sized, shared["weights"]) if shared["symmetric"] else {}),
        "total": float(np.sum(per_row)),
        "squares": found.squares,
        "nonzero": float(found.positive),
        "low": Least(low),
        "high": Least(-found.high),
        "first_zero": Least(float("inf") if at is None else float(x.first * n + at)),
        "row_mix": float(np.sum(per_row * _weights(x.first + np.arange(m, like=per_row)))),
        "columns": found.columns,
        "sizes": sized.columns,
        "sample": pick(x, shared["share"]) if shared["share"] else Picked(),
    }


def _turned(x: Block, sized: _Totals, weights: Array) -> dict[str, Array]:
    """What is added up to (Xᵀ − X) s for a vector of weights s (n, 1), and to |X| 1 + |Xᵀ| 1."""
    first, m = x.first, x.shape[0]
    difference, sizes = x.tdot(weights[first : first + m])[:, 0], sized.columns.astype(np.float64)
    difference[first : first + m] -= x.dot(weights)[:, 0]
    sizes[first : first + m] += sized.rows
    return {"turned": difference, "turned.sizes": sizes}


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


def _lowest(x: Block, found: _Totals) -> tuple[int | None, float]:
    """Where the first zero entry of a block is, and its lowest one; missing entries are none."""
    m, n = x.shape
    if found.low > 0 and x.values.size == m * n:
        return None, found.low
    at = x.first_zero()
    return at, found.low if at is None and found.low != 0 else min(0.0, found.low)


def _observed(x: Block, per_row: Array) -> dict[str, Any]:
    """How many entries there are of each column and in all, and the rows without any; of all-zero rows the others."""
    if not isinstance(x, Weighed):
        return {"row_zeros": float(np.count_nonzero(per_row == 0))}
    rows, columns = x.observed()
    (m, n), one = x.shape, np.ones_like(x.weights, shape=(1,), dtype=np.float64)
    by_row = x.weigh((one + _weights(np.arange(n, like=one)))[:, None])[:, 0]
    return {
        "weight_mix": float(np.sum(by_row * (1 + _weights(x.first + np.arange(m, like=one))))),
        "row_zeros": float(np.count_nonzero((per_row == 0) & (rows > 0))),
        "hidden_rows": float(np.count_nonzero(rows == 0)),
        "observed_columns": columns,
    }


class Expected(NamedTuple):
    """What a model makes of its matrix: whether entries may be negative, and whether it is its own transpose.

    `either_sign` says how the model takes negative ones after all, and `embeds` whether rows of W embed those of X.
    """

    signed: bool = False
    symmetric: bool = False
    either_sign: str = ""
    embeds: bool = False

    @classmethod
    def by(cls, model: Any) -> Expected:
        """What `model` says."""
        # Of a class whose objects differ, what there is is no answer.
        way = getattr(model, "either_sign", "")
        flags = (getattr(model, name, False) is True for name in ("signed", "symmetric", "embeds"))
        signed, symmetric, embeds = flags
        return cls(signed, symmetric, way if isinstance(way, str) else "", embeds)

    @property
    def signed_components(self) -> bool:
        """Whether components may have negative entries: those of A ≈ H Hᵀ have none, whatever A has."""
        return self.signed and not self.symmetric

    @classmethod
    def of_rows(cls, model: Any) -> Expected:
        """What it says of other rows than those of the whole matrix."""
        return cls.by(model)._replace(symmetric=False)


PLAIN = Expected()
"""What most models expect."""


def survey(sweep: Any, source: Any, *, empty: bool = False, share: float = 0.0, expected: Expected = PLAIN) -> Probe:
    """Look at the whole of `source` by one sweep; raises `DataError` for what cannot be factorized.

    All zeros are refused, too, unless `empty` allows them, and what is not as `expected`. About `share` of the rows
    are brought along.
    """
    shared: dict[str, Any] = {"share": share, "signed": expected.signed, "symmetric": expected.symmetric}
    shared["way"] = expected.either_sign
    if expected.symmetric:
        shared["weights"] = _uneven(source.shape[1])
    _, found = sweep(look, None, shared, tiles=not source.is_sparse)
    if expected.symmetric:
        _refuse_lopsided(found["turned"], found["turned.sizes"])
    probe = replace(_summary(source.shape, found), embeds=expected.embeds)
    if probe.nonzero == 0 and not empty:
        m, n = source.shape
        raise DataError(f"the matrix ({m} × {n}) is all zero: there is nothing to factorize")
    return probe


def _summary(shape: tuple[int, int], stats: dict[str, Any]) -> Probe:
    columns, sizes, first = stats["columns"], stats["sizes"], stats["first_zero"].value
    there = stats.get("observed_columns")
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
        column_zeros=int(np.count_nonzero((sizes == 0) if there is None else (sizes == 0) & (there > 0))),
        columns=columns,
        first_zero=None if np.isinf(first) else divmod(int(first), shape[1]),
        sample=stats["sample"],
        observed=None if there is None else float(np.sum(there)),
        weight_mix=None if there is None else float(stats["weight_mix"]),
        hidden_rows=int(stats.get("hidden_rows", 0)),
        hidden_columns=0 if there is None else int(np.count_nonzero(there == 0)),
    )


def _uneven(n: int) -> Array:
    """Weights (n, 1) of sizes from ½ to 1 and either sign, the same for every fit.

    No two are alike: what a row has too much, as in a cycle of directed edges, is not made up for by another entry.
    """
    drawn = np.random.default_rng(n).uniform(-0.5, 0.5, (n, 1))
    return drawn + np.where(drawn < 0, -0.5, 0.5)


def _refuse_lopsided(turned: Array, sizes: Array) -> None:
    """Raise `DataError` where a matrix is not its own transpose, by more than the rounding of float32."""
    off = np.abs(turned) > LOPSIDED * sizes
    if bool(off.any()):
        at = int(np.argmax(off))
        raise DataError(
            f"the matrix is not symmetric: row {at} and column {at} differ, and so do {int(off.sum()):,} of "
            f"{len(off):,} rows from their columns, or more; make it symmetric first (nmfkit convert --similarity "
            "graph SRC DST.zarr), or use a model for any matrix, as nmf"
        )


def _refuse(x: Block, low: float, high: float, *, signed: bool, way: str) -> None:
    # Two numbers decide; the search for the place runs only in a block that is bad.
    if (low > -np.inf if signed else low >= 0) and high < np.inf:
        return
    v = x.values
    faults = [("NaN", np.isnan(v)), ("an infinite value", np.isinf(v))]
    for what, bad in faults if signed else [*faults, ("a negative entry", v < 0)]:
        if bool(bad.any()):
            at = int(np.argmax(bad.ravel()))
            (row, column), value = x.place(at), float(x.values.ravel()[at])
            count = int(np.count_nonzero(bad))
            raise DataError(
                f"the matrix holds {what} at row {row}, column {column} ({value!r}; {count} such in rows "
                f"{x.first}–{x.first + x.shape[0] - 1}): {way_out(what, way)}"
            )


def way_out(what: str, way: str) -> str:
    """What helps against entries of that kind; `way` is how a model takes negative ones."""
    if what == "a negative entry" and way:
        return f"nonnegative factorization needs entries ≥ 0; use {way}, or shift, clip or take magnitudes first"
    return _WAY_OUT[what]


_WAY_OUT = {
    "NaN": "say so if it stands for missing entries (--missing nan), or fill or drop them first",
    "an infinite value": "replace it by a finite one, or drop its row or column",
    "a negative entry": "nonnegative factorization needs entries ≥ 0; shift, clip or take magnitudes first, or use a "
    "model of data of either sign, as agd or ig-mdsr-rnmf",
}
