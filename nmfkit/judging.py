"""The sweep that judges a factorization: the loss of each product of its factors on every block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmfkit.array_rows import is_result
from nmfkit.blocks import Array, Block
from nmfkit.check import Resolved
from nmfkit.clustering.assignments import clusters
from nmfkit.errors import UsageError
from nmfkit.levels import levels_of, product
from nmfkit.lowrank import LowRank
from nmfkit.problem import part_text
from nmfkit.protocols import HasGram, Level, Rows, Shared, Stats, Step
from nmfkit.result import Result
from nmfkit.stats import Gathered
from nmfkit.weighed import Weighed


class HalfSquares:
    """½‖X − ŷ‖², which judges a model that takes no loss."""

    def value(self, x: Block, y: LowRank) -> float:
        """Its value on a block, in float64."""
        inside = np.sum(np.square(np.subtract(x.values, y.at(x), dtype=np.float64)))
        return 0.5 * (float(inside) + y.squares_outside(x))

    def offset(self, x: Block) -> float:
        """Its value at ŷ = 0."""
        return 0.5 * float(np.sum(np.square(x.values, dtype=np.float64)))


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

    `profile` (n,) holds the columns' parts of the sum of all entries. With `grouping`, rows are labelled, too.
    """

    loss: Any
    products: tuple[Product, ...]
    profile: Array
    encode: Step | None
    grouping: bool = False

    @property
    def quadratic(self) -> bool:
        """Whether the loss is compared with that of zero, and its root is an error."""
        return isinstance(self.loss, HasGram | HalfSquares)

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """The losses of a block, and what sparsity and shares need of its rows."""
        if self.encode is not None:
            rows, _ = self.encode(x, {}, shared)
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
        sums = x.dot(np.ones((x.shape[1], 1), dtype))
        if isinstance(x, Weighed):  # what the row would sum up to if all of it were known
            sums = sums / np.maximum(x.weigh(self.profile[:, None].astype(dtype)), np.finfo(dtype).tiny)
        return float(self.loss.value(x, LowRank(sums.astype(dtype), self.profile[None].astype(dtype))))


def products_of(result: Result, resolved: Resolved) -> tuple[Product, ...]:
    """The products that approximate X: one a level, or that of the only two factors."""
    model, n = resolved.model, result.shape[1]
    shared = model.factors(result.state.current)
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
        f"score judges a product of two factors, (m, r) and (r, {n}), and model {part_text(result.problem.model)!r} "
        f"has {shapes}; nmfkit inspect shows its objective"
    )


def _pairs(rows: Rows, shared: Mapping[str, Array], n: int) -> list[tuple[str, Array]]:
    """The factors that multiply to the size of X: those called w and h where there are, else all that fit together."""
    fitting = [(row, name) for row, u in rows.items() for name, v in shared.items() if v.shape == (u.shape[1], n)]
    chosen = [("w", "h")] if ("w", "h") in fitting else fitting
    return [(row, shared[name]) for row, name in chosen]


def _of_level(level: Level, shared: Mapping[str, Array]) -> Product:
    chain = product(shared, level.chain) if level.chain else None
    return Product(level.row, chain, product(shared, level.components))
