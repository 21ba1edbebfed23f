"""Hierarchical alternating least squares, on the Gram form, a block of rows at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nmfkit import kernels
from nmfkit.blocks import Array
from nmfkit.protocols import Moment, Penalty
from nmfkit_plugins.beta.quadratic import QuadraticRule, total


@dataclass(frozen=True)
class HALS(QuadraticRule):
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

    def __post_init__(self) -> None:
        if self.inner < 1 or self.settle < 0:
            raise ValueError(f"inner must be at least 1 and settle at least 0, not {self.inner} and {self.settle}")

    def update(self, f: Array, loss: Any, prepared: Array, gathered: Array, penalty: Penalty, moment: Moment) -> Array:
        """One sweep over the columns, `inner` once settled; a column without any curvature stays as it is."""
        del loss
        q, c = total(f, prepared, gathered, penalty)
        inner = self.inner if moment.sweep >= self.settle else 1
        return kernels.hals(f, q, c, inner, whole=moment.whole)
