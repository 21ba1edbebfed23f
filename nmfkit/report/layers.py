"""Which factors of a result belong together: rows' weights and the components that they weigh."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from nmfkit.array_rows import is_result
from nmfkit.blocks import Array
from nmfkit.errors import StoreError, UsageError
from nmfkit.levels import levels_of, product
from nmfkit.protocols import Level
from nmfkit.result import Result


@dataclass(frozen=True)
class Layer:
    """Components `v` (r, n) and the name of the factor (m, p) that weighs them, if there is one.

    `shared` says what `v` is made of: a factor, or a product of factors. `chain` (p, r) stands between the two where
    there is something, a product whose last factor is `mixing` (q, r). `level` counts from 1, the level next to the
    data; None for a model without levels. Of a `symmetric` model, rows and features are the same things.
    """

    row: str | None
    shared: str
    v: Array = field(repr=False)
    chain: Array | None = field(default=None, repr=False)
    mixing: Array | None = field(default=None, repr=False)
    level: int | None = None
    weighing: str | None = None
    symmetric: bool = False

    @property
    def rank(self) -> int:
        """The number of components."""
        return int(self.v.shape[0])

    @property
    def weights(self) -> str | None:
        """What the weights are made of: a factor, or a product of factors."""
        return self.weighing or self.row

    @property
    def width(self) -> int:
        """The columns of the factor of the rows, p."""
        return self.rank if self.chain is None else len(self.chain)

    @property
    def told(self) -> tuple[str, ...]:
        """Names of the components and of the weights, once where they are the same."""
        return (self.shared,) if self.symmetric else (self.shared, self.weights or "W")

    @property
    def signed(self) -> bool:
        """Whether components have negative entries."""
        return bool(np.min(self.v) < 0)

    @property
    def scale(self) -> Array:
        """What a weight of 1 is worth of each component (r,): the sum of its entries' sizes, 1 if `symmetric`."""
        if self.symmetric:
            return np.ones(self.rank)
        return sizes_of(self.v)

    def weigh(self, rows: Array) -> Array:
        """The weights (rows, r) of some rows of the factor."""
        return rows if self.chain is None else rows @ self.chain


def sizes_of(v: Array) -> Array:
    """The sum of the sizes of each row's entries (r,)."""
    found: Array = np.abs(v).sum(axis=1, dtype=np.float64)
    return found


def layers(result: Result) -> list[Layer]:
    """Every pair (m, r) and (r, n) whose product is an approximation of X: the levels of a model that has some.

    Of other models, those that fit by their shapes. Where X is square and no shared factor has its columns, a factor of
    the rows is its own counterpart, as in X ≈ F Fᵀ. Raises `UsageError` for a result without components, `StoreError`
    for factors that are not finite.
    """
    found = _by_levels(result) or _by_shapes(result)
    for layer in found:
        if not all(np.isfinite(f).all() for f in (layer.v, layer.chain) if f is not None):
            raise StoreError(f"{result.path or 'the run'}: {layer.shared} holds numbers that are not finite")
    return found


def _by_levels(result: Result) -> list[Layer]:
    current = result.state.current
    factors = result.model.factors(current)
    return [_of_level(i, level, factors) for i, level in enumerate(levels_of(result.model, current), 1)]


def _of_level(number: int, level: Level, factors: dict[str, Array]) -> Layer:
    return Layer(
        level.row,
        " ".join(level.components),
        product(factors, level.components),
        product(factors, level.chain) if level.chain else None,
        factors[level.chain[-1]] if level.chain else None,
        number,
        " ".join((level.row, *level.chain)),
    )


def _by_shapes(result: Result) -> list[Layer]:
    rows = {name: f.shape[1] for name, f in result.state.rows.read(0, 1).items() if is_result(name) and f.ndim == 2}
    found, free = [], dict(rows)
    for name, f in result.model.factors(result.state.current).items():
        if f.ndim == 2 and f.shape[1] == result.width:
            row = next((name for name, rank in free.items() if rank == f.shape[0]), None)
            free.pop(row or "", None)
            found.append(Layer(row, name, np.asarray(f), symmetric=bool(getattr(result.model, "symmetric", False))))
    if not found and result.shape[0] == result.shape[1]:
        found = [Layer(name, f"{name}ᵀ", np.asarray(result.factors[name]).T) for name in rows]
    if not found:
        names = ", ".join([*(f"{n} (m, {r})" for n, r in rows.items())]) or "none"
        raise UsageError(f"the run has no factor with the {result.shape[1]} features as columns; factors: {names}")
    return found
