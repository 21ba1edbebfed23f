"""The course of a fit in a line of blocks: how much the objective falls, on a log scale.

The objective itself soon looks flat. Its gain over ten sweeps is what the tolerance is compared with, and falls by
orders of magnitude; the lowest block is the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from nmfkit.stopping import WINDOW, gain

RAMP = "▁▂▃▄▅▆▇█"
PLAIN = "_.-=+*%#"
"""For terminals that have no blocks."""

Curve = Sequence[tuple[int, float]]


def sparkline(curve: Curve, columns: int, tol: float = 0.0, ramp: str = RAMP, unfitted: float = math.inf) -> str:
    """A block for each of at most so many stretches of the curve, the latest last; empty before the second sweep."""
    return bars(decreases(curve, columns, unfitted), tol, ramp)


def decreases(curve: Curve, columns: int, unfitted: float = math.inf) -> list[float]:
    """The `gain` over each stretch of sweeps, as if it were ten sweeps long."""
    count = min(columns, len(curve) - 1)
    if count < 1:
        return []
    ends = [curve[round(i * (len(curve) - 1) / count)] for i in range(count + 1)]
    return [gain(f, g, unfitted) * WINDOW / (b - a) if b > a else 0.0 for (a, f), (b, g) in pairwise(ends)]


def bars(values: Sequence[float], tol: float, ramp: str = RAMP) -> str:
    """A block for each value, by its logarithm between `tol` (without one, the least above 0) and the largest value."""
    positive = [v for v in values if v > 0 and math.isfinite(v)]
    if not positive:
        return ramp[0] * len(values)
    low, high = tol or min(positive), max(positive)
    return "".join(ramp[_height(v, low, high, len(ramp))] for v in values)


def _height(value: float, low: float, high: float, steps: int) -> int:
    if not value > low or not high > low:
        return 0
    # Everything above the tolerance stands above the lowest block.
    part = (math.log(min(value, high)) - math.log(low)) / (math.log(high) - math.log(low))
    return min(steps - 1, 1 + int(part * (steps - 1)))
