"""The positive matrix that the tests of estimators share, and the β-divergences by the textbook."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

RNG = np.random.default_rng(3)
X = RNG.gamma(0.5, 2.0, (90, 5)) @ RNG.gamma(0.5, 2.0, (5, 24)) + 0.02 * RNG.random((90, 24)) + 1e-3


def divergence(x, w, h, loss):
    """Σ d(x, wh) by the textbook's formulas, for X > 0 or β ≥ 1."""
    beta = {"frobenius": 2, "kullback-leibler": 1, "itakura-saito": 0}.get(loss, loss)
    x = x.toarray() if sp.issparse(x) else np.asarray(x, float)
    y = np.maximum(w @ h, 1e-300)
    if beta == 1:
        return float(np.sum(np.where(x > 0, x * np.log(np.where(x > 0, x, 1) / y), 0) - x + y))
    if beta == 0:
        return float(np.sum(x / y - np.log(x / y) - 1))
    return float(np.sum(x**beta + (beta - 1) * y**beta - beta * x * y ** (beta - 1)) / (beta * (beta - 1)))
