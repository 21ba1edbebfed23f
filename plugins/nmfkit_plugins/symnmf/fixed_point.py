"""The iteration that SymNMF-Net unrolls, with nothing learned: one product a sweep, all of it matrix products."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array
from nmfkit_plugins.symnmf.pair import raised
from nmfkit_plugins.symnmf.rules import Facts, Halves

FALL = 0.9
"""What λ is multiplied by each sweep, down to its last value."""


@dataclass(frozen=True)
class FixedPoint:
    """H ← max(0, (A H + λH)(HᵀH + λI)⁻¹): least squares for one factor of A + λ(…), and its negative entries cut off.

    It is not monotone at first, so the best H so far counts. λ falls from `first` to `lam`, both times ‖A‖₂: for
    λ → 0 the scale of H goes to and fro, and a large λ is slow. After the blocks of Li, Kong & Lin, SymNMF-Net,
    2022 (arXiv 2205.13214), reconstructed from the published abstract.
    """

    lam: float = 0.1
    first: float = 0.5

    monotone: ClassVar[bool] = False
    signed: ClassVar[bool] = True
    splits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not (0 < self.lam <= self.first < math.inf):
            raise ValueError(f"lam and first must be numbers with 0 < lam ≤ first, not {self.lam} and {self.first}")

    def begin(self, h: Array, facts: Facts) -> dict[str, Any]:
        """λ and where it goes."""
        del h
        return {"lam": self.first * facts.top, "last": self.lam * facts.top}

    def step(self, h: Array, product: Array | Halves, gram: Array, state: dict[str, Any]) -> Array:
        """max(0, (rows of A H + λ rows of H)(HᵀH + λI)⁻¹)."""
        assert not isinstance(product, Halves)
        inverse = np.linalg.inv(raised(gram, state["lam"]))
        moved = (product + h.dtype.type(state["lam"]) * h) @ inverse.astype(h.dtype)
        cut: Array = np.maximum(moved, 0)
        return cut

    def advance(self, state: dict[str, Any], objective: float) -> dict[str, Any]:
        """A smaller λ."""
        del objective
        return {**state, "lam": max(state["last"], FALL * state["lam"])}
