"""The sweep that judges a factorization: the loss of each product of its factors on every block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from nmfkit.array_rows import is_result
from nmfkit.blocks import Array, Block
from nmfkit.check import Resolved
from nmfkit.clustering.assignments import clusters
from nmfkit.errors import UsageError
from nmfkit.levels import levels_of, product
from nmfkit.lowrank import LowRank, formed
from nmfkit.problem import part_text
from nmfkit.protocols import HasGram, HasView, Judged, Level, Loss, Model, Rows, Shared, Stats, Step
from nmfkit.result import Result
from nmfkit.stats import Gathered
from nmfkit.weighed import Weighed

View: TypeAlias = Callable[[Block, Shared], Block]
"""What a model factorizes, of a block of X."""


class HalfSquares:
    """½‖X − ŷ‖², which judges a model that takes no loss."""

    def value(self, x: Block, y: LowRank) -> float:
        """Its value on a block, in float64."""
        inside = np.sum(np.square(np.subtract(x.values, y.at(x), dtype=np.float64)))
        return 0.5 * (float(inside) + y.squares_outside(x))

    def offset(self, x: Block) -> float:
        """Its value at ŷ = 0."""
        return 0.5 * x.squares()

    def fitted(self, y: LowRank) -> LowRank:
        """ŷ itself."""
        return y


def measure_of(model: Model, loss: Any) -> Any:
    """What judges a product of the model's factors: its own measure, its loss, or ½‖X − ŷ‖²."""
    return model.measure() if isinstance(model, Judged) else loss or HalfSquares()


def fit_of(model: Model | None, y: LowRank) -> Array | LowRank:
    """What stands for the data where the product of the factors is `y`."""
    return model.measure().fitted(y) if isinstance(model, Judged) else y


def restored(model: Model, w: Array, v: Array, shared: Shared) -> Array:
    """X̂ (k, n) in the units of X, from weights w (k, r) of components v (r, N)."""
    if isinstance(model, HasView):
        return np.asarray(model.restored(w, shared))
    return np.asarray(formed(fit_of(model, LowRank(w, v))))


def fit_text(model: Model, v: Array) -> str:
    """What stands for the data in a formula, where the components are v (r, N)."""
    return "WH" if isinstance(fit_of(model, LowRank(np.zeros_like(v[:1, :1]), v[:1])), LowRank) else "ŷ"


def error_text(result: Result, v: Array) -> str:
    """The relative error of a quadratic loss as a formula, of X, or of the Y that the model makes of it."""
    data = "Y" if result.is_viewed else "X"
    return f"‖{data} − {fit_text(result.model, v)}‖ / ‖{data}‖"


def is_quadratic(measure: Any) -> bool:
    """Whether what judges a product is half a sum of squares: a loss of that kind, or no loss of the problem's."""
    return isinstance(measure, HasGram) or not isinstance(measure, Loss)


@dataclass(frozen=True)
class Product:
    """The rows' factor `row`, times `chain` if there is one, times `v` (r, n)."""

    row: str
    chain: Array | None
    v: Array

    def weights(self, rows: Rows) -> Array:
        """What some rows have of each component."""
        u = rows[self.row]
        return u if self.chain is None else u @ self.chain

    def of(self, rows: Rows) -> LowRank:
        """The product for some rows."""
        return LowRank(self.weights(rows), self.v)


@dataclass(frozen=True)
class Judge:
    """The step of the scoring sweep, of one product a level.

    `profile` (N,) holds the columns' parts of the sum of all entries. With a `view`, what it makes of X is judged. With
    `grouping`, rows are labelled, too.
    """

    loss: Any
    products: tuple[Product, ...]
    profile: Array
    encode: Step | None
    grouping: bool = False
    view: View | None = None

    @property
    def quadratic(self) -> bool:
        """Whether the loss is compared with that of zero, and its root is an error."""
        return is_quadratic(self.loss)

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """The losses of a block, and what sparsity and shares need of its rows."""
        if self.encode is not None:
            rows, _ = self.encode(x, {}, shared)
        x = x if self.view is None else self.view(x, shared)
        used = {made.row: rows[made.row].astype(np.float64) for made in self.products}
        groups = clusters(self.products[0].weights(rows)) if self.grouping else None
        return {}, {
            **({} if groups is None else {"labels": Gathered.of(x.first, groups)}),
            "losses": tuple(float(self.loss.value(x, made.of(rows))) for made in self.products),
            "reference": self._reference(x, self.products[0].v.dtype),
            "sums": {name: np.sum(wide, axis=0) for name, wide in used.items()},
            "squares": {name: np.sum(np.square(wide), axis=0) for name, wide in used.items()},
        }

    def _reference(self, x: Block, dtype: Any) -> float:
        """The loss of what needs no factorization: zero, or the product of row and column sums."""
        if self.quadratic:
            return float(self.loss.offset(x))
        sums = x.dot(np.ones_like(self.profile, shape=(x.shape[1], 1), dtype=dtype))
        if isinstance(x, Weighed):  # what the row would sum up to if all of it were known
            sums = sums / np.maximum(x.weigh(self.profile[:, None].astype(dtype)), np.finfo(dtype).tiny)
        return float(self.loss.value(x, LowRank(sums.astype(dtype), self.profile[None].astype(dtype))))


@dataclass(frozen=True)
class ColumnSums:
    """The step that sums up the columns of what a model factorizes, (N,)."""

    view: View

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """The sums of a block of rows."""
        del rows
        y = self.view(x, shared)
        return {}, y.tdot(np.ones_like(x.values, shape=(y.shape[0], 1), dtype=np.float64))[:, 0]


def products_of(result: Result, resolved: Resolved) -> tuple[Product, ...]:
    """The products that approximate X, as `found_products`; raises `UsageError` where there are none."""
    return found_products(result, resolved.model, "score judges", "; nmfkit inspect shows its objective")


def found_products(result: Result, model: Model, asking: str, instead: str = "") -> tuple[Product, ...]:
    """One product a level, or that of the only two factors; raises `UsageError` saying who asks where there are none.

    X is approximated by them, or what the model makes of it.
    """
    shared, n = model.factors(result.state.current), result.width
    if levels := levels_of(model, result.state.current):
        return tuple(_of_level(level, shared) for level in levels)
    rows = {name: f for name, f in result.state.rows.read(0, 1).items() if is_result(name)}
    pairs = _pairs(rows, shared, n)
    if len(pairs) == 1:
        ((row, v),) = pairs
        return (Product(row, None, v),)
    shapes = ", ".join(f"{k} ({', '.join(('m', *map(str, u.shape[1:])))})" for k, u in rows.items())
    shapes += "".join(f", {k} {v.shape}" for k, v in shared.items())
    raise UsageError(
        f"{asking} a product of two factors, (m, r) and (r, {n}), and model {part_text(result.problem.model)!r} "
        f"has {shapes}{instead}"
    )


def _pairs(rows: Rows, shared: Mapping[str, Array], n: int) -> list[tuple[str, Array]]:
    """The factors that multiply to the size of X: those called w and h where there are, else all that fit together."""
    fitting = [(row, name) for row, u in rows.items() for name, v in shared.items() if v.shape == (u.shape[1], n)]
    chosen = [("w", "h")] if ("w", "h") in fitting else fitting
    return [(row, shared[name]) for row, name in chosen]


def _of_level(level: Level, shared: Mapping[str, Array]) -> Product:
    chain = product(shared, level.chain) if level.chain else None
    return Product(level.row, chain, product(shared, level.components))
