"""L1 and L2 penalties on the entries of one factor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nmfkit.blocks import Array
from nmfkit.gram import Gram
from nmfkit.surrogate import Surrogate


def _weight(value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"the weight must be a finite number ≥ 0, not {value!r}")


@dataclass(frozen=True)
class L1:
    """λ Σ f, for f ≥ 0: drives small entries to zero."""

    weight: float

    def __post_init__(self) -> None:
        _weight(self.weight)

    def stat(self, f: Array) -> float:
        """Σ f."""
        return float(np.sum(f, dtype=np.float64))

    def value(self, stat: float) -> float:
        """λ Σ f."""
        return self.weight * stat

    def surrogate(self, f: Array, stat: float) -> Surrogate:
        """{1: λ}."""
        del stat
        return {1.0: np.full_like(f, self.weight)}

    def entrywise(self) -> tuple[float, float]:
        """(λ, 0)."""
        return (self.weight, 0.0)

    def quadratic(self, f: Array, stat: float) -> Gram:
        """Q = 0, C = −λ."""
        del stat
        rank = f.shape[1]
        return Gram(np.zeros_like(f, shape=(rank, rank)), np.full_like(f, -self.weight, shape=(1, rank)))


@dataclass(frozen=True)
class L2:
    """½ λ Σ f²: holds entries down in proportion to their size."""

    weight: float

    def __post_init__(self) -> None:
        _weight(self.weight)

    def stat(self, f: Array) -> float:
        """Σ f²."""
        return float(np.sum(np.square(f), dtype=np.float64))

    def value(self, stat: float) -> float:
        """½ λ Σ f²."""
        return 0.5 * self.weight * stat

    def surrogate(self, f: Array, stat: float) -> Surrogate:
        """{2: λ f̃}."""
        del stat
        return {2.0: self.weight * f}

    def entrywise(self) -> tuple[float, float]:
        """(0, λ)."""
        return (0.0, self.weight)

    def quadratic(self, f: Array, stat: float) -> Gram:
        """Q = λ I, C = 0."""
        del stat
        rank = f.shape[1]
        k = np.arange(rank, like=f)
        identity = (k[:, None] == k).astype(f.dtype)  # np.eye(like=) passes arguments that not all arrays take
        return Gram(self.weight * identity, np.zeros_like(f, shape=(1, rank)))
