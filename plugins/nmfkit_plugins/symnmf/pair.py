"""Rules for A ≈ U Vᵀ with a penalty that holds U and V together: columns in turn, or exact least squares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit import kernels
from nmfkit.blocks import Array
from nmfkit.protocols import Moment, Penalty, UpdateRule
from nmfkit_plugins.symnmf.rules import Facts

LEAST, MOST = 0.05, 1.0
"""The bounds of λ = max(A)², as fractions of ‖A‖₂."""


@dataclass(frozen=True)
class Held:
    """½ ‖A − U Vᵀ‖² + λ/2 ‖U − V‖² with λ = `lam`: "auto" is max(A)², but 0.05 to 1 times ‖A‖₂.

    Zhu, Li, Liu & Li, Dropping symmetry for fast symmetric nonnegative matrix factorization, NeurIPS 2018: from some λ
    on, U = V wherever no step lowers the objective. Far smaller λ do, and end lower.
    """

    lam: str = "auto"

    monotone: ClassVar[bool] = True
    signed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.lam != "auto" and not _positive(self.lam):
            raise ValueError(f"lam must be auto or a number > 0, not {self.lam!r}")

    def weight(self, facts: Facts, h: Array) -> float:
        """λ."""
        del h
        if self.lam != "auto":
            return float(self.lam)
        return min(max(max(facts.high, 0.0) ** 2, LEAST * facts.top), MOST * facts.top)


@dataclass(frozen=True)
class SymHALS(Held):
    """One column after the other: u_k ← max(0, u_k + (c_k − U q_k) / q_kk), `inner` times over (Zhu et al., 2018)."""

    inner: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inner < 1:
            raise ValueError(f"inner must be at least 1, not {self.inner}")

    def update(self, f: Array, q: Array, c: Array) -> Array:
        """The rows after `inner` sweeps over the columns."""
        return kernels.hals(f, q, c, self.inner)


@dataclass(frozen=True)
class SymANLS(Held):
    """Exact nonnegative least squares for one factor, then the other (Kuang, Yun & Park, J. Global Optim. 62, 2015)."""

    def update(self, f: Array, q: Array, c: Array) -> Array:
        """The minimiser, by block principal pivoting."""
        return kernels.nnls(q, c, f)


@dataclass(frozen=True)
class Adopted(Held):
    """The same with an update rule for quadratics that any model may take."""

    rule: UpdateRule | Any = None

    def update(self, f: Array, q: Array, c: Array) -> Array:
        """The rule's update from Q and C."""
        moved: Array = self.rule.update(f, None, q, c, Penalty(), Moment(floor=0.0, sweep=1))
        return moved


def _positive(text: Any) -> bool:
    try:
        return 0 < float(text) < math.inf
    except (TypeError, ValueError):
        return False


def held_together(gram: Array, product: Array, other: Array, lam: float) -> tuple[Array, Array]:
    """Q = VᵀV + λI and the rows of C = A V + λ V, for rows `product` of A V and `other` of V."""
    return raised(gram, lam), product + product.dtype.type(lam) * other


def raised(gram: Array, lam: float) -> Array:
    """G + λI."""
    k = np.arange(len(gram), like=gram)
    total: Array = gram + lam * (k[:, None] == k)  # np.eye(like=) passes arguments that not all arrays take
    return total
