"""Data of either sign as nonnegative data: each column becomes two, what it has above zero and what it has below."""

from __future__ import annotations

import numpy as np

from nmfkit.blocks import Array


def fold(z: Array) -> Array:
    """[max(z, 0), max(−z, 0)] (k, 2n) of `z` (k, n)."""
    above = np.maximum(z, 0)
    y: Array = np.concatenate((above, above - z), axis=1)  # max(−z, 0) is max(z, 0) − z, to the bit
    return y


def unfold(y: Array) -> Array:
    """z (k, n) of `y` (k, 2n): the left half minus the right one. The two may both be above zero."""
    n = y.shape[1] // 2
    z: Array = y[:, :n] - y[:, n:]
    return z
