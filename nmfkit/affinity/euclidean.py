"""Nearness by the Euclidean distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nmfkit.affinity import panel as rows
from nmfkit.affinity.metric import rounding
from nmfkit.affinity.panel import Panel
from nmfkit.blocks import Array, Block


@dataclass(frozen=True)
class Euclidean:
    """Keys are squared distances of the data over 2 to the power of `exponent`, where no square overflows.

    Scores are ½‖y‖² − x·y, which cancels where the rows are far from zero: they only choose the pairs whose
    distances are then formed from the differences.
    """

    exponent: int

    best: ClassVar[float] = 0.0

    @property
    def worst(self) -> float:
        """All rows are neighbours."""
        return math.inf

    def panel(self, block: Block) -> Panel:
        """The rows, scaled."""
        return rows.panel(block, self.exponent)

    def scores(self, mine: Panel, others: Panel) -> Array:
        """½‖y‖² − x·y."""
        found = mine.products(others)
        return np.subtract(others.squares / 2, found, out=found)

    def slack(self, mine: Panel, others: Panel) -> Array:
        """The rounding of sums as large as ‖x‖² + ‖y‖²."""
        bounds: Array = rounding(mine.values.shape[1]) * (mine.squares + others.squares.max())
        return bounds

    def limits(self, mine: Panel, keys: Array) -> Array:
        """½(d² − ‖x‖²)."""
        return (keys - mine.squares) / 2

    def keys(self, mine: Panel, a: Array, others: Panel, b: Array) -> Array:
        """d² = Σ (x − y)²."""
        return mine.distances(a, others, b)
