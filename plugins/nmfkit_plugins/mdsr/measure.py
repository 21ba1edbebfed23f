"""What judges W H where it is cut off at 0, and how often its largest entries are those of the data."""

from __future__ import annotations

import numpy as np

from nmfkit.blocks import Array, Block, sum_of_squares
from nmfkit.lowrank import LowRank

TILE = 2**18
"""Entries of a dense W H that are in memory at a time."""


class Rectified:
    """½ ‖max(W H, 0) − Y‖²."""

    def value(self, x: Block, y: LowRank) -> float:
        """Its value on a block of Y, in float64."""
        return 0.5 * sum_of_squares(np.subtract(self.fitted(y), x.dense(), dtype=np.float64))

    def offset(self, x: Block) -> float:
        """Its value at W H = 0."""
        return 0.5 * x.squares()

    def fitted(self, y: LowRank) -> Array:
        """Every entry of max(W H, 0)."""
        return np.maximum(y.form(), 0)


def agreements(y: Block, w: Array, h: Array, output: str) -> float:
    """Rows of a block of Y (rows, N) whose largest entry is where that of Ŷ is; of several, the first one counts.

    Ŷ is `w` (rows, r) times `h` (r, N), cut off at 0 where `output` is "relu".
    """
    step = max(1, TILE // y.shape[1])
    found = 0
    for lo in range(0, len(w), step):
        hi = min(len(w), lo + step)
        made = w[lo:hi] @ h
        made = np.maximum(made, 0) if output == "relu" else made
        same = np.argmax(made, axis=1) == np.argmax(y.rows(lo, hi).dense(), axis=1)
        found += int(np.count_nonzero(same))
    return float(found)
