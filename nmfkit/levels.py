"""The levels of a model that factorizes a factor again: what each gives for rows and for components, multiplied out.

At every level X ≈ coefficients (m, r) · components (r, n). Some coefficients are a factor of the model as it stands,
others the product of one with the factors behind it: `w1`, then `level2` = w1 w2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from nmfkit.array_rows import is_result
from nmfkit.blocks import Array
from nmfkit.protocols import HasLevels, Level, Model, Rows, RowStore, Shared

if TYPE_CHECKING:
    from nmfkit.result import Result


def levels_of(model: Model, shared: Shared) -> tuple[Level, ...]:
    """The levels of a fitted model; none where it has only one pair of factors."""
    return model.levels(shared) if isinstance(model, HasLevels) else ()


def layer_cautions(model: Model, ranks: Sequence[int]) -> list[str]:
    """What is allowed but odd about the ranks of a model of several levels."""
    if not isinstance(model, HasLevels):
        return []
    if len(ranks) == 1:
        return ["one rank makes one layer, and nothing below it: give one for each layer, as --ranks 20,10,5"]
    return [
        f"layer {number} has {below} components, no fewer than the {above} of layer {number - 1}, and can copy what it "
        "should sum up: let the ranks fall from layer to layer"
        for number, (above, below) in enumerate(pairwise(ranks), 2)
        if below >= above
    ]


def coefficients_name(number: int, level: Level) -> str:
    """What the coefficients of a level are called: a factor of the model by its name, a product by its level."""
    return f"level{number}" if level.chain else level.row


def product(factors: Mapping[str, Array], names: Sequence[str]) -> Array:
    """The product of the factors of these names, the first one leftmost."""
    return reduce(np.matmul, (np.asarray(factors[name]) for name in names))


def by_name(rows: Rows, model: Model) -> Rows:
    """The rows that belong to a result, in the order in which the model names its factors, products after them."""
    order = [name for name in model.row_factors if name in rows]
    order += [name for name in rows if name not in order]
    return {name: np.asarray(rows[name]) for name in order if is_result(name)}


@dataclass(frozen=True)
class FittedLevel:
    """One level of a result: X ≈ `coefficients` (m, r) `components` (r, n), each multiplied out when asked for.

    `number` counts from 1, the level next to the data; `name` is what `transform` calls the coefficients.
    """

    number: int
    name: str
    level: Level = field(repr=False)
    result: Result = field(repr=False)

    @property
    def rank(self) -> int:
        """The number of components, r."""
        return len(self._shared[self.level.components[0]])

    @cached_property
    def coefficients(self) -> Array:
        """What each row of X has of each component, (m, r)."""
        return product(self.result.factors, (self.level.row, *self.level.chain))

    @cached_property
    def components(self) -> Array:
        """The components of this level in the features of X, (r, n); reads no rows."""
        return product(self._shared, self.level.components)

    @property
    def _shared(self) -> dict[str, Array]:
        return self.result.model.factors(self.result.state.current)


@dataclass(frozen=True)
class LevelRows:
    """Rows of the factors of a model, and beside them the coefficients of the levels that are products of these.

    `chains` has for each such level the row factor and the (p, r) that it is to be multiplied by.
    """

    rows: RowStore
    chains: Mapping[str, tuple[str, Array]]

    @property
    def lasting(self) -> bool:
        """As the rows themselves."""
        return self.rows.lasting

    def read(self, lo: int, hi: int) -> Rows:
        """The rows `lo` … `hi`, of what belongs to a result."""
        found = {name: f for name, f in self.rows.read(lo, hi).items() if is_result(name)}
        return {**found, **{name: found[row] @ chain for name, (row, chain) in self.chains.items()}}

    def part(self, lo: int, hi: int) -> LevelRows:
        """What is needed to read nothing but those rows."""
        return LevelRows(self.rows.part(lo, hi), self.chains)


def at_every_level(rows: RowStore, model: Model, shared: Shared) -> LevelRows:
    """`rows` with the coefficients of each level of the model."""
    factors = model.factors(shared)
    chains = {
        coefficients_name(number, level): (level.row, product(factors, level.chain))
        for number, level in enumerate(levels_of(model, shared), 1)
        if level.chain
    }
    return LevelRows(rows, chains)
