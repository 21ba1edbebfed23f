"""Matrices of a known rank."""

from __future__ import annotations

import numpy as np


def planted(rank, seed, kind, shape=(150, 100)):
    """Gamma-distributed factors with noise: Poisson counts of mean 5 ("counts"), or Gaussian of a fifth of the mean."""
    rng = np.random.default_rng([rank, seed, 11])
    m, n = shape
    w, h = rng.gamma(0.6, 1, (m, rank)), rng.gamma(0.4, 1, (rank, n))
    y = w @ h
    if kind == "counts":
        return rng.poisson(y / y.mean() * 5).astype(float), h
    return np.maximum(y + 0.2 * y.mean() * rng.standard_normal(y.shape), 0), h
