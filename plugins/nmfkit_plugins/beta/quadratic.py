"""What rules for quadratic losses share: the Gram form, gathered once and minimised as often as a rule likes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.gram import Gram
from nmfkit.protocols import HasGram, HasQuadratic, Penalty, Term


class QuadraticRule:
    """Everything but `update` of a rule for ½ tr(F Q Fᵀ) − ⟨F, C⟩, with Q, C from the loss and the regularizers."""

    needs: ClassVar[tuple[type, ...]] = (HasGram,)
    accepts: ClassVar[tuple[type, ...]] = (HasQuadratic,)
    monotone: ClassVar[bool] = True
    gathers_once: ClassVar[bool] = True
    traps_zeros: ClassVar[bool] = False

    @property
    def elementwise(self) -> bool:
        """False: only products with x, no temporary of its size."""
        return False

    def prepare(self, loss: Any, other: Array) -> Array:
        """Q = otherᵀ other, in float64: the value cancels against it."""
        q: Array = loss.gram(other.astype(np.float64, copy=False))
        return q

    def gather(self, term: Term) -> Array:
        """C = x other."""
        return term.cross()

    def ahead(self, f: Array, past: Array, weight: float) -> Array:
        """max(f + weight · (f − past), 0)."""
        if weight == 0:
            return f
        further: Array = np.maximum(f + f.dtype.type(weight) * (f - past), 0)
        return further

    def constant(self, loss: Any, x: Block) -> float:
        """½ Σ x²."""
        return float(loss.offset(x))

    def value(self, term: Term, f: Array, prepared: Array, gathered: Array) -> float:
        """½ ⟨FᵀF, Q⟩ − ⟨F, C⟩: the loss without ½ Σ x², from the products at hand."""
        del term
        f = f.astype(np.float64, copy=False)  # rank columns only, and the two terms nearly cancel
        value: float = 0.5 * np.sum((f.T @ f) * prepared) - np.sum(f * gathered)
        return value


def total(f: Array, prepared: Array, gathered: Array, penalty: Penalty) -> Gram:
    """Q and C of the loss and of all regularizers, at the row block `f`."""
    summed = Gram(prepared, gathered)
    for quadratic in penalty.quadratics(f):
        summed = summed.plus(quadratic)
    return summed
