"""The Huber loss: ½ r² up to a residual r = |x − ŷ| of δ, δ (r − δ/2) beyond."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nmfkit.blocks import Array, Block, Dense
from nmfkit.lowrank import LowRank
from nmfkit.protocols import Halves, Split
from nmfkit.surrogate import Surrogate


@dataclass(frozen=True)
class Huber:
    """As a function of r² it is concave, so the tangent there majorises it: the square weighted by s = min(1, δ/r)."""

    delta: float = 1.0
    needs_positive = False
    pattern_only = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.delta) and self.delta > 0):
            raise ValueError(f"delta must be a finite number > 0, not {self.delta!r}")

    def value(self, x: Block, y: LowRank) -> float:
        """q (r − q/2) with q = min(r, δ), which is both branches at once."""
        r = np.abs(x.dense() - y.form())
        q = np.minimum(r, self.delta)
        return float(np.sum(q * (r - q / 2), dtype=np.float64))

    def split(self, x: Block, y: LowRank) -> Split:
        """pos = s ŷ, neg = s x; their difference is the derivative s (ŷ − x)."""
        v, at = x.dense(), y.form()
        s = self.delta / np.maximum(np.abs(v - at), self.delta)
        return Split(Dense(s * at), Dense(s * v))

    def surrogate(self, halves: Halves) -> Surrogate:
        """That of a weighted square: {2: pos, 1: −neg}."""
        negative: Array = -halves.neg
        return {2.0: halves.pos, 1.0: negative}
