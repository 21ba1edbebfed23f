"""Data of two layers with a ground truth, and how far factors are from it.

H₂ mixes six features into three (ω = 0.2), as in the demonstration of Leplat, Hien, Onwunta & Gillis (2024).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

OMEGA = 0.2
RANKS = (6, 3)


def two_layers(seed, *, rows=100, columns=1000, noise=0.01):
    """(X, W₁, W₂): X = W₁ H₁ with noise, W₁ = W₂ H₂; three entries of each column of H₁ are not zero."""
    rng = np.random.default_rng(seed)
    o = OMEGA
    h2 = np.array([[o, 1, 1, o, 0, 0], [1, o, 0, 0, o, 1], [0, 0, o, 1, 1, o]]) / (1 + o)
    w2 = rng.random((rows, 3))
    h1 = np.zeros((6, columns))
    for column in h1.T:
        column[rng.permutation(6)[:3]] = rng.dirichlet(np.ones(3))
    w1 = w2 @ h2
    clean = w1 @ h1
    disturbed = rng.standard_normal(clean.shape)
    x = clean + noise * np.linalg.norm(clean) / np.linalg.norm(disturbed) * disturbed
    return np.maximum(x, 1e-9), w1, w2


def distance(w, truth):
    """‖W − truth‖ / ‖truth‖ with columns that sum to 1, in the order that fits best."""
    w, truth = w / w.sum(0), truth / truth.sum(0)
    apart = np.linalg.norm(w[:, :, None] - truth[:, None, :], axis=0) ** 2
    i, j = linear_sum_assignment(apart)
    return float(np.sqrt(apart[i, j].sum()) / np.linalg.norm(truth))


def hoyer(rows):
    """(√n − ‖x‖₁/‖x‖₂) / (√n − 1), the mean over rows: 0 where all entries are equal, 1 where one is alone."""
    n = np.sqrt(rows.shape[1])
    return float(np.mean((n - np.abs(rows).sum(1) / np.linalg.norm(rows, axis=1)) / (n - 1)))
