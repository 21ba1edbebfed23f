"""What the product of the factors leaves over, by rows and by columns: one read of the data, by blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nmfkit.blocks import CSR, Array, Block
from nmfkit.check import resolve
from nmfkit.executors.machine import Machine
from nmfkit.executors.open import executing
from nmfkit.judging import fit_of
from nmfkit.loop import Watcher
from nmfkit.lowrank import LowRank, formed
from nmfkit.origin import reopen
from nmfkit.protocols import HasView, Model, Rows, Shared, Stats
from nmfkit.report.layers import Layer
from nmfkit.result import Result
from nmfkit.weighed import Weighed

LEFT, DATA, FIT, SUM, FIT_SUM, SEEN = range(6)
"""What is added up for each row and column: (x − ŷ)², x², ŷ², x, ŷ, and the weights of what is observed."""
NAME = "report"
CELLS = 2**18
"""Entries that are added up at a time: more would take a multiple of the block's memory for what is in between."""


@dataclass(frozen=True)
class Side:
    """Sums over each row, or over each column: `sums` (count, 6)."""

    sums: Array = field(repr=False)

    @property
    def error(self) -> Array:
        """‖x − ŷ‖ / ‖x‖ of each; NaN where x is all zero or wholly hidden."""
        return _ratio(np.sqrt(self.sums[:, LEFT]), self.size)

    @property
    def size(self) -> Array:
        """‖x‖ of each."""
        return np.sqrt(self.sums[:, DATA])

    @property
    def cosine(self) -> Array:
        """The cosine of the angle between x and ŷ; NaN where one of them is all zero."""
        left, data, fit = (self.sums[:, i] for i in (LEFT, DATA, FIT))
        return np.clip(_ratio((data + fit - left) / 2, np.sqrt(data * fit)), -1.0, 1.0)

    @property
    def surplus(self) -> Array:
        """(Σŷ − Σx) / Σx of each: above 0 where the fit gives too much."""
        return _ratio(self.sums[:, FIT_SUM] - self.sums[:, SUM], self.sums[:, SUM])

    @property
    def empty(self) -> Array:
        """Which are all zero where they are observed."""
        found: Array = (self.sums[:, SEEN] > 0) & (self.sums[:, DATA] == 0)
        return found

    @property
    def zero(self) -> int:
        """How many are."""
        return int(np.count_nonzero(self.empty))

    @property
    def hidden(self) -> int:
        """How many are wholly hidden."""
        return int(np.count_nonzero(self.sums[:, SEEN] == 0))


@dataclass(frozen=True)
class Residuals:
    """The residual of X − W H by rows and by columns, and ‖X − W H‖ / ‖X‖ over all entries that are observed.

    Where a model factorizes columns of its own, they are those of its Y, and its ŷ stands for W H where it has one.
    `others` has the residual's sum of squares for each further level.
    """

    rows: Side
    columns: Side
    source: str
    others: tuple[float, ...] = ()

    @property
    def error(self) -> float:
        """‖X − WH‖ / ‖X‖."""
        return self.errors[0]

    @property
    def errors(self) -> tuple[float, ...]:
        """The same for each level, this one first."""
        total = self.rows.sums.sum(axis=0)
        if not total[DATA] > 0:
            return (float("nan"),) * (1 + len(self.others))
        return tuple(float(np.sqrt(left / total[DATA])) for left in (total[LEFT], *self.others))


def residuals(
    result: Result,
    layer: Layer,
    x: Any = None,
    others: Sequence[Layer] = (),
    *,
    key: str | None = None,
    options: Mapping[str, Any] | None = None,
    machine: Machine,
    watcher: Watcher,
) -> Residuals:
    """Go through the data of the run once, where the run found them or at `x`, block by block.

    Of `others`, further levels, only the sum of squares is kept. Raises `StoreError` or `SourceError` where the data
    are gone or are others.
    """
    source = reopen(result.attributes["source"], x, key, result.problem, options)
    resolved = resolve(result.problem)
    model = resolved.model
    with executing(source, resolved, machine, out=result.path, options=options, watcher=watcher) as executor:
        watcher.stage("residuals")
        further = tuple(Measure(other, *_moments(other.v), model=model) for other in others)
        step = Measure(layer, *_moments(layer.v), further, model)
        rows, found = executor.sweep(step, result.state.rows, result.state.current)
        by_row = np.array(rows.read(0, result.shape[0])[NAME])
    return Residuals(Side(by_row), Side(_with_unstored(found["sums"], layer.v)), source.uri, found["others"])


@dataclass(frozen=True)
class Measure:
    """The step of that sweep: the weights of `layer` times its components v, `gram` being v vᵀ and `sums` v 1.

    The `model` says what it makes of X, and of that product, where it makes anything.
    """

    layer: Layer
    gram: Array
    sums: Array
    others: tuple[Measure, ...] = ()
    model: Model | None = None

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """The sums by row (rows, 6), and those by column with what entries that are not stored add to them."""
        x = self.model.view(x, shared) if isinstance(self.model, HasView) else x
        by_row, stats = self._measured(x, rows)
        others = tuple(float(other._measured(x, rows)[0][:, LEFT].sum()) for other in self.others)
        return {NAME: by_row}, {"sums": stats, "others": others}

    def _measured(self, x: Block, rows: Rows) -> tuple[Array, Stats]:
        u = self.layer.weigh(rows[str(self.layer.row)])
        inner, weights, elsewhere = (x.x, x.weights, x.elsewhere) if isinstance(x, Weighed) else (x, None, 1.0)
        if not isinstance(inner, CSR):
            return self._dense(inner, u, weights, 0.0)
        if isinstance(self._fit(u[:1]), LowRank):
            return self._sparse(inner, u, weights, elsewhere)
        return self._dense(inner, u, weights, elsewhere)

    def _fit(self, u: Array) -> Array | LowRank:
        """What stands for the data, of some rows of weights."""
        return fit_of(self.model, LowRank(u, self.layer.v))

    def _dense(self, x: Block, u: Array, weights: Array | None, elsewhere: float) -> tuple[Array, Stats]:
        """The same with ŷ formed, a few rows at a time; entries that x does not store count `elsewhere`."""
        m, n = x.shape
        known = None if weights is None else x.like(weights - elsewhere)
        wide = u.astype(np.float64)
        by_row, by_column = np.empty_like(wide, shape=(m, 6)), np.zeros_like(wide, shape=(n, 6))
        step = max(1, CELLS // n)
        for lo in range(0, m, step):
            rows = (lo, min(m, lo + step))
            seen = None if known is None else known.rows(*rows).dense() + elsewhere
            fit = formed(self._fit(u[slice(*rows)]))
            by_row[slice(*rows)], columns = _summed(x.rows(*rows).dense(), fit, seen)
            by_column += columns
        return by_row, _stats(by_column, u, 0.0)

    def _sparse(self, x: CSR, u: Array, weights: Array | None, elsewhere: float) -> tuple[Array, Stats]:
        """The same without forming ŷ: its sums over all entries come from the factors, and count `elsewhere`."""
        m, n = x.shape
        fit = LowRank(u, self.layer.v).at(x).astype(np.float64, copy=False)
        values = x.values.astype(np.float64)
        seen = np.ones_like(values) if weights is None else weights.astype(np.float64)
        # What is stored counts as it should; what is not is ŷ alone, over all entries less those that are stored.
        apart = seen - elsewhere
        left = seen * np.square(values - fit) - elsewhere * np.square(fit)
        terms = (left, seen * np.square(values), apart * np.square(fit), seen * values, apart * fit, apart)
        row = np.repeat(np.arange(m, like=x.indptr), np.diff(x.indptr))
        by_row: Array = np.stack([np.bincount(row, t, minlength=m) for t in terms], axis=1)
        by_column = np.stack([np.bincount(x.indices, t, minlength=n) for t in terms], axis=1)
        wide = u.astype(np.float64)
        by_row = by_row + elsewhere * _unstored(np.sum((wide @ self.gram) * wide, axis=1), wide @ self.sums, n)
        return _squares_above_0(by_row), _stats(by_column, u, elsewhere)


def _summed(x: Array, y: Array, weights: Array | None) -> tuple[Array, Array]:
    """The sums by row and by column of a few rows of x and ŷ."""
    values, fit = x.astype(np.float64), y.astype(np.float64)
    seen = np.ones_like(values) if weights is None else weights.astype(np.float64)
    terms = (np.square(values - fit), np.square(values), np.square(fit), values, fit, np.ones_like(values))
    pairs = [(np.einsum("ij,ij->i", t, seen), np.einsum("ij,ij->j", t, seen)) for t in terms]
    by_row, by_column = (np.stack(side, axis=1) for side in zip(*pairs, strict=True))
    return by_row, by_column


def _stats(by_column: Array, u: Array, elsewhere: float) -> Stats:
    wide = u.astype(np.float64)
    return {
        "columns": by_column,
        "gram": elsewhere * (wide.T @ wide),
        "sums": elsewhere * np.sum(wide, axis=0),
        "count": elsewhere * len(u),
    }


def _with_unstored(found: Stats, v: Array) -> Array:
    """The sums by column with what entries that are not stored add to them."""
    wide = v.astype(np.float64)
    squares = np.sum(wide * (found["gram"] @ wide), axis=0)
    sums: Array = found["columns"] + _unstored(squares, found["sums"] @ wide, found["count"])
    return _squares_above_0(sums)


def _squares_above_0(sums: Array) -> Array:
    """The same, sums of squares at least 0: a difference of large numbers may fall a hair below."""
    signless = np.asarray([i in (LEFT, DATA, FIT, SEEN) for i in range(sums.shape[1])], like=sums)
    return np.where(signless, np.maximum(sums, 0), sums)


def _unstored(squares: Array, sums: Array, count: float) -> Array:
    """Sums over entries where x is 0, from those of ŷ² and ŷ there."""
    none = np.zeros_like(squares)
    return np.stack([squares, none, squares, none, sums, np.full_like(squares, count)], axis=1)


def _moments(v: Array) -> tuple[Array, Array]:
    wide = v.astype(np.float64)
    return wide @ wide.T, wide.sum(axis=1)


def _ratio(part: Array, whole: Array) -> Array:
    ratio: Array = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return ratio
