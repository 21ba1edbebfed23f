"""What ties a factor to another matrix: a divergence from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.surrogate import Surrogate


@dataclass(frozen=True)
class Coupling:
    """λ Σ d(f, f̄): how far a factor F is from `target` F̄ of the same shape, which is d's second argument.

    d is strictly convex in its first argument for every β, so the sum with the majoriser of a layer's loss has one
    minimum. Leplat, Hien, Onwunta & Gillis, Neural Computation 36(11), 2024, sec. 3.
    """

    loss: Any
    weight: float
    target: Array

    def stat(self, f: Array) -> float:
        """Σ d(f, f̄)."""
        return float(np.sum(self.loss.terms(f, self.target), dtype=np.float64))

    def value(self, stat: float) -> float:
        """λ Σ d(f, f̄)."""
        return self.weight * stat

    def surrogate(self, f: Array, stat: Any) -> Surrogate:
        """That of the loss in its first argument, times λ."""
        del stat
        near = np.maximum(self.target, float(np.finfo(f.dtype).tiny))
        return {power: self.weight * c for power, c in self.loss.data_surrogate(f, near).items()}
