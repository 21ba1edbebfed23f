"""Components that no sample uses any more, and the sample that takes the place of one."""

from __future__ import annotations

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.stats import Least


def idle_for(idle: Array, s: Array) -> Array:
    """Stages in a row (r,) that each component has gone without any code, `s` (r, r) being ZᵀZ of the last one."""
    count: Array = np.where(np.diag(s) == 0, idle + 1, 0)
    return count


def due(idle: Array, patience: Array) -> Array:
    """Which component is to give way (r,): the one that has been idle beyond its `patience` (r,) longest, if any."""
    over = idle - patience
    first = np.arange(len(over), like=over) == np.argmax(over)
    chosen: Array = first & (over >= 0)
    return chosen


def furthest_of(x: Block, residuals: Array) -> Least:
    """The sample (1, n) of a block with the largest of its `residuals` (rows,), as a statistic."""
    at = int(np.argmax(residuals))
    return Least(-residuals[at : at + 1, None], x.rows(at, at + 1).dense().astype(np.float64))


def reseeded(h: Array, chosen: Array, sample: Array) -> Array:
    """`h` (r, n) with a sample (1, n), made of length 1, in place of the components that are `chosen` (r,)."""
    new: Array = np.where(chosen[:, None], sample / np.sqrt(np.sum(sample * sample)), h)
    return new
