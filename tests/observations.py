"""A mask and weights for the small matrices, and the β-divergences written out."""

from __future__ import annotations

import numpy as np
from small import X

RNG = np.random.default_rng(3)
MASK = (RNG.random(X.shape) < 0.6).astype(float)
WEIGHTS = RNG.gamma(1.0, 1.0, X.shape)


def divergence(x, y, beta):
    with np.errstate(divide="ignore", invalid="ignore"):
        if beta == 1:
            return np.where(x > 0, x * np.log(x / y), 0) - x + y
        if beta == 0:
            return x / y - np.log(x / y) - 1
    return (x**beta + (beta - 1) * y**beta - beta * x * y ** (beta - 1)) / (beta * (beta - 1))
