"""Which samples are held out of the fit, to judge its stages by."""

from __future__ import annotations

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.sample import is_picked

SHARE = 0.1
"""The share held out where nothing else is asked for, and rows suffice."""
ENOUGH = 10
"""Samples to fit, for each component, that must be left; with fewer the components are not found."""


def share_of(asked: str, samples: int, rank: int) -> float:
    """The share `asked` for; `auto` holds out nothing where fewer than `ENOUGH` samples a component would be left."""
    if asked != "auto":
        return float(asked)
    return SHARE if samples * (1 - SHARE) >= ENOUGH * rank else 0.0


def held_out(x: Block, share: float, like: Array) -> Array:
    """Which rows of a block are held out (rows, 1): by their numbers in X alone, so the same for every sharding."""
    numbers = x.first + 1 + np.arange(x.shape[0], like=like)
    return is_picked(numbers, share)[:, None]
