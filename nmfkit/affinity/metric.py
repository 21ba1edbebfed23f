"""What near means, between rows of the data."""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np

from nmfkit.affinity.panel import Panel
from nmfkit.blocks import Array, Block

EPS = float(np.finfo(np.float64).eps)


class Metric(Protocol):
    """Scores for all pairs of two panels, fast and rounded, and the keys of few pairs; smaller is nearer.

    The key of a pair depends on its two rows alone, to the bit, and not on the order of the two.
    """

    best: ClassVar[float]
    """The key that none is below."""

    @property
    def worst(self) -> float:
        """Only pairs with keys below it are neighbours."""
        ...

    def panel(self, block: Block) -> Panel:
        """The rows of a block ready to be compared."""
        ...

    def scores(self, mine: Panel, others: Panel) -> Array:
        """A score (m, p) for each pair, in the order of the keys along each row but for rounding."""
        ...

    def slack(self, mine: Panel, others: Panel) -> Array:
        """Bounds (m,) of the rounding of scores and keys together, in scores."""
        ...

    def limits(self, mine: Panel, keys: Array) -> Array:
        """The scores (m,) that stand for `keys` (m,), one in each row, but for rounding."""
        ...

    def keys(self, mine: Panel, a: Array, others: Panel, b: Array) -> Array:
        """The keys (q,) of pairs of the rows `a` (q,) of `mine` and `b` (q,) of `others`."""
        ...


def rounding(features: int) -> float:
    """A generous bound of the relative rounding of a sum of so many products."""
    return 4 * (features + 8) * EPS
