"""Adam (Kingma & Ba, ICLR 2015) with a rate that falls along half a cosine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nmfkit.blocks import Array

DECAYS = (0.9, 0.999)
"""How much of the running means of gradients and of their squares is kept."""

TINY = 1e-8
"""Added to the root of the mean square, so that rounding alone moves nothing."""


def at_rest(net: Array) -> dict[str, Any]:
    """The state before the first step."""
    return {"mean": np.zeros_like(net), "square": np.zeros_like(net), "count": 0}


def stepped(net: Array, gradient: Array, adam: dict[str, Any], rates: Array) -> tuple[Array, dict[str, Any]]:
    """`net` (K, p) after a step down `gradient` (K, p) at `rates` (K, p) or (K, 1), and the next state."""
    (kept, kept_squares), count = DECAYS, adam["count"] + 1
    mean = _blended(adam["mean"], gradient, kept)
    square = _blended(adam["square"], gradient * gradient, kept_squares)
    move = np.sqrt(square / (1 - kept_squares**count))  # in place from here on: weights of n × n are large
    move += TINY
    np.divide(mean, move, out=move)
    move *= -rates / (1 - kept**count)
    move += net
    return move, {"mean": mean, "square": square, "count": count}


def _blended(before: Array, new: Array, kept: float) -> Array:
    """A running mean with one value more."""
    mean = kept * before
    mean += (1 - kept) * new
    return mean


def cosine(step: int, steps: int) -> float:
    """From 1 at the first step to nearly 0 at the last."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))
