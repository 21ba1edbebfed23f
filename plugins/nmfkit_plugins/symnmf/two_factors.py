"""Sweeps of a pair A ≈ U Vᵀ: a pass for U, from A V, and one for V, from A U."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.protocols import Pass, Rows, Shared, Stats
from nmfkit.stats import Gathered
from nmfkit_plugins.symnmf.beginning import gram_of, not_below_zero
from nmfkit_plugins.symnmf.pair import held_together
from nmfkit_plugins.symnmf.rules import Facts, PairSteps


@dataclass(frozen=True)
class TwoFactors:
    """By a rule that moves one factor of a pair; the diagonal of A is of no account if `ignored`."""

    ignored: bool
    rule: PairSteps

    phased: ClassVar[bool] = True
    reads: ClassVar[int] = 2
    keeps_matrix: ClassVar[bool] = False

    def begin(self, f: Array, facts: Facts, matrix: Block | None) -> Shared:
        """λ."""
        del matrix
        return {"lam": self.rule.weight(facts, f)}

    def phase(self, shared: Shared) -> Pass | None:
        """The pass for U, with V = "f"."""
        return Pass(self.first_half, shared, True) if "u" not in shared else None

    def first_half(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """Rows of the new U, what they add to the objective, and for all to gather."""
        panel = slice(x.first, x.first + x.shape[0])
        v, product = shared["f"][panel], x.dot(shared["f"])
        u = self._moved(rows["w"], v, product, shared["gram"], shared, panel)
        value = -2 * _inner(u, product) + shared["lam"] * _inner(u - v, u - v)
        if self.ignored:
            own = np.sum(u * v, axis=1, keepdims=True)
            value += _inner(own, own) - 2 * _inner(own, own - shared["diagonal"][panel])
        return {"w": u}, {"u": Gathered.of(x.first, u), "gram": gram_of(u), "value": value}

    def after(self, shared: Shared, stats: Stats) -> Shared:
        """The state with U and what is left to know of the objective."""
        return {**shared, "u": stats["u"].whole(), "u.gram": stats["gram"], "value": stats["value"]}

    def local(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """The rows of U as they are, and those of the next V for all to gather."""
        panel = slice(x.first, x.first + x.shape[0])
        u, product = shared["u"][panel], x.dot(shared["u"])
        v = self._moved(shared["f"][panel], u, product, shared["u.gram"], shared, panel)
        return {"w": rows["w"]}, {"f": Gathered.of(x.first, v), "gram": gram_of(v), "value": 0.0}

    def objective(self, shared: Shared, stats: Stats) -> float:
        """½ (‖A‖² − 2 ⟨U, A V⟩ + ⟨UᵀU, VᵀV⟩) + λ/2 ‖U − V‖², not below 0."""
        del stats
        squares = float(shared["squares"]) + float(shared["value"]) + float(np.sum(shared["gram"] * shared["u.gram"]))
        return not_below_zero(0.5 * squares)

    def apply(self, shared: Shared, stats: Stats) -> Shared:
        """The state with the next V, and without U, whose rows are the model's."""
        kept = {name: value for name, value in shared.items() if name not in ("u", "u.gram", "value")}
        return {**kept, "f": stats["f"].whole(), "gram": stats["gram"]}

    def refused(self, shared: Shared, objective: float) -> Shared | None:
        """None: no half of a sweep raises the objective."""
        del shared, objective
        return None

    def _moved(self, f: Array, other: Array, product: Array, gram: Array, shared: Shared, panel: slice) -> Array:
        """New rows of one factor from those of the other."""
        q, c = held_together(gram, product, other, shared["lam"])
        if self.ignored:
            own = np.sum(f * other, axis=1, keepdims=True)
            c = c + (own - shared["diagonal"][panel]) * other
        return self.rule.update(f, q, c)


def _inner(a: Array, b: Array) -> float:
    return float(np.sum(a * b, dtype=np.float64))
