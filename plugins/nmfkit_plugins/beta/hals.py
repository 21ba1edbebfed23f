"""Hierarchical alternating least squares, on the Gram form, a block of rows at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit import kernels
from nmfkit.blocks import Array, Block
from nmfkit.gram import Gram
from nmfkit.protocols import HasGram, HasQuadratic, Moment, Penalty, Term


@dataclass(frozen=True)
class HALS:
    """Exact minimisation of one column after the other, `inner` times over: f_k ← max(0, f_k + (c_k − F q_k) / q_kk).

    For ½ tr(F Q Fᵀ) − ⟨F, C⟩ with Q, C from the loss and the regularizers. Cichocki & Phan, IEICE Trans. E92-A(3),
    2009; several inner sweeps after Gillis & Glineur, Neural Computation 24(4), 2012: they cost no product with X.

    The first `settle` sweeps of a fit make a single inner sweep: fitting one factor closely to another that is still
    random leads to worse optima. On five data sets, two ranks and four random starts each, `settle` 10 ended at or
    below as many iterations of scikit-learn's coordinate descent in all 40 fits, `settle` 0 above it in 10 of them.
    """

    inner: int = 4
    settle: int = 10
    extrapolate: bool = True

    needs: ClassVar[tuple[type, ...]] = (HasGram,)
    accepts: ClassVar[tuple[type, ...]] = (HasQuadratic,)
    monotone: ClassVar[bool] = True
    gathers_once: ClassVar[bool] = True
    traps_zeros: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.inner < 1 or self.settle < 0:
            raise ValueError(f"inner must be at least 1 and settle at least 0, not {self.inner} and {self.settle}")

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

    def update(self, f: Array, loss: Any, prepared: Array, gathered: Array, penalty: Penalty, moment: Moment) -> Array:
        """One sweep over the columns, `inner` once settled; a column without any curvature stays as it is."""
        del loss
        total = Gram(prepared, gathered)
        for quadratic in penalty.quadratics(f):
            total = total.plus(quadratic)
        inner = self.inner if moment.sweep >= self.settle else 1
        return kernels.hals(f, total.q, total.c, inner, whole=moment.whole)

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
        return float(0.5 * np.sum((f.T @ f) * prepared) - np.sum(f * gathered))
