"""Which factors of a result belong together: rows' weights and the components that they weigh."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from nmfkit.array_rows import is_result
from nmfkit.blocks import Array
from nmfkit.errors import StoreError, UsageError
from nmfkit.result import Result


@dataclass(frozen=True)
class Layer:
    """Components `v` (r, n) and the name of the factor (m, r) that weighs them, if there is one.

    `shared` says what `v` is made of: a factor, or a product of factors.
    """

    row: str | None
    shared: str
    v: Array = field(repr=False)

    @property
    def rank(self) -> int:
        """The number of components."""
        return int(self.v.shape[0])


def layers(result: Result) -> list[Layer]:
    """Every pair of factors, (m, r) and (r, n), whose product is an approximation of X, by their shapes alone.

    A shared factor (s, r) that follows one of shape (r, n) is multiplied with it. Where X is square and no shared
    factor has its columns, a factor of the rows is its own counterpart, as in X ≈ F Fᵀ. Raises `UsageError` for a
    result without components, `StoreError` for factors that are not finite.
    """
    rows = {name: f.shape[1] for name, f in result.state.rows.read(0, 1).items() if is_result(name) and f.ndim == 2}
    chains = _chains(result)
    found, free = [], dict(rows)
    for shared, v in chains:
        row = next((name for name, rank in free.items() if rank == v.shape[0]), None)
        free.pop(row or "", None)
        found.append(Layer(row, shared, v))
    if not found and result.shape[0] == result.shape[1]:
        found = [Layer(name, f"{name}ᵀ", np.asarray(result.factors[name]).T) for name in rows]
    if not found:
        names = ", ".join([*(f"{n} (m, {r})" for n, r in rows.items())]) or "none"
        raise UsageError(f"the run has no factor with the {result.shape[1]} features as columns; factors: {names}")
    for layer in found:
        if not np.isfinite(layer.v).all():
            raise StoreError(f"{result.path or 'the run'}: {layer.shared} holds numbers that are not finite")
    return found


def _chains(result: Result) -> list[tuple[str, Array]]:
    """What can stand on the right of a product with the columns of X, each with its name."""
    chains: list[tuple[str, Array]] = []
    for name, f in result.model.factors(result.state.current).items():
        f = np.asarray(f)
        if f.ndim != 2:
            continue
        if f.shape[1] == result.shape[1]:
            chains.append((name, f))
        elif chains and f.shape[1] == chains[-1][1].shape[0]:
            before, v = chains[-1]
            chains.append((f"{name} {before}", f @ v))
    return chains
