"""Sweeps of one factor H: a product with A, and from it the next H."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.protocols import Pass, Rows, Shared, Stats
from nmfkit.stats import Gathered
from nmfkit_plugins.symnmf.beginning import gram_of, not_below_zero
from nmfkit_plugins.symnmf.matrix import signed_product
from nmfkit_plugins.symnmf.rules import Facts, Halves, RowSteps, WholeSteps


@dataclass(frozen=True)
class OneFactor:
    """What they have in common; the diagonal of A is of no account if `ignored`."""

    ignored: bool

    phased: ClassVar[bool] = False
    reads: ClassVar[int] = 1

    def phase(self, shared: Shared) -> Pass | None:
        """None: a sweep is one pass."""
        del shared
        return None

    def after(self, shared: Shared, stats: Stats) -> Shared:
        """The state as it is."""
        del stats
        return shared

    def objective(self, shared: Shared, stats: Stats) -> float:
        """½ (‖A‖² − 2 ⟨H, A H⟩ + ‖HᵀH‖²), not below 0."""
        squares = float(shared["squares"]) + float(stats["value"]) + float(np.sum(np.square(shared["gram"])))
        return not_below_zero(0.5 * squares)

    def _seen(self, x: Block, shared: Shared, *, splits: bool = False) -> tuple[Array, Array | Halves, float]:
        """Rows of H and of A H on a panel, and what they add to twice the objective."""
        f, m = shared["f"], x.shape[0]
        h, product, filled = f[x.first : x.first + m], signed_product(x, f) if splits else x.dot(f), 0.0
        if self.ignored:
            product, filled = _filled(product, h, shared["diagonal"][x.first : x.first + m])
        return h, product, filled - 2 * float(np.sum(h * net(product), dtype=np.float64))


@dataclass(frozen=True)
class ByRows(OneFactor):
    """By a rule that moves each row by itself, while its panel is at hand."""

    rule: RowSteps

    keeps_matrix: ClassVar[bool] = False

    def begin(self, f: Array, facts: Facts, matrix: Block | None) -> Shared:
        """The rule's state."""
        del matrix
        return {"rule": self.rule.begin(f, facts)}

    def local(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """The rows of H as the state has them, what they add to the objective, and the next ones for all to gather."""
        del rows
        h, product, value = self._seen(x, shared, splits=self.rule.splits and shared["splits"])
        moved = self.rule.step(h, product, shared["gram"], shared["rule"]).astype(h.dtype, copy=False)
        f = without(moved, x.first, shared["empty"])
        return {"w": h}, {"value": value, "f": Gathered.of(x.first, f), "gram": gram_of(f)}

    def apply(self, shared: Shared, stats: Stats) -> Shared:
        """The next H, its Gram matrix, and the rule's state."""
        state = self.rule.advance(shared["rule"], self.objective(shared, stats))
        return {**shared, "f": stats["f"].whole(), "gram": stats["gram"], "rule": state}

    def refused(self, shared: Shared, objective: float) -> Shared | None:
        """None: the best H is what counts where such a rule may rise."""
        del shared, objective
        return None


@dataclass(frozen=True)
class AtOnce(OneFactor):
    """By a rule that moves all rows of H at once, where they are gathered."""

    rule: WholeSteps

    @property
    def keeps_matrix(self) -> bool:
        """Whether the rule wants A in memory."""
        return self.rule.keeps_matrix

    def begin(self, f: Array, facts: Facts, matrix: Block | None) -> Shared:
        """The rule's state."""
        return {"rule": self.rule.begin(f, facts, matrix)}

    def local(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """The rows of H as the state has them, what they add to the objective, and those of A H for all to gather."""
        del rows
        h, product, value = self._seen(x, shared)
        return {"w": h}, {"value": value, "product": Gathered.of(x.first, product)}

    def apply(self, shared: Shared, stats: Stats) -> Shared:
        """The next H, its Gram matrix, and the rule's state."""
        state = {**shared["rule"], "objective": self.objective(shared, stats)}
        f, state = self.rule.move(shared["f"], stats["product"].whole(), state)
        return with_factor(shared, without(f.astype(shared["f"].dtype, copy=False), 0, shared["empty"]), state)

    def refused(self, shared: Shared, objective: float) -> Shared | None:
        """The state with another H to try, where the rule takes its step back."""
        back: tuple[Array, dict[str, Any]] | None = self.rule.refused(shared["rule"], objective)
        return None if back is None else with_factor(shared, back[0].astype(shared["f"].dtype, copy=False), back[1])


def with_factor(shared: Shared, f: Array, state: dict[str, Any]) -> Shared:
    """The state with another H and what goes with it."""
    return {**shared, "f": f, "gram": gram_of(f), "rule": state}


def without(f: Array, first: int, empty: Array | None) -> Array:
    """Rows of nodes that have no neighbour are zero: nothing says where they belong."""
    return f if empty is None else np.where(empty[first : first + len(f)] > 0, np.zeros_like(f), f)


def net(product: Array | Halves) -> Array:
    """Rows of A H."""
    return product.pos - product.neg if isinstance(product, Halves) else product


def _filled(product: Array | Halves, h: Array, diagonal: Array) -> tuple[Array | Halves, float]:
    """The product with the diagonal of H Hᵀ in the place of that of A, and the sum of its squares."""
    own = np.sum(np.square(h), axis=1, keepdims=True)
    change = (own - diagonal) * h
    filled = float(np.sum(np.square(own, dtype=np.float64)))
    if isinstance(product, Halves):
        return Halves(product.pos + np.maximum(change, 0), product.neg + np.maximum(-change, 0)), filled
    return product + change, filled
