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
    """`net` after a step down `gradient` at `rates`, all of one shape, and the next state."""
    (kept, kept_squares), count = DECAYS, adam["count"] + 1
    mean = kept * adam["mean"] + (1 - kept) * gradient
    square = kept_squares * adam["square"] + (1 - kept_squares) * gradient * gradient
    size = np.sqrt(square / (1 - kept_squares**count)) + TINY
    new = net - rates * (mean / (1 - kept**count)) / size
    return new, {"mean": mean, "square": square, "count": count}


def cosine(step: int, steps: int) -> float:
    """From 1 at the first step to nearly 0 at the last."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))
