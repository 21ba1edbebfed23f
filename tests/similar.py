"""Small graphs with known groups, and what fits of them are compared by."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


def blocks_graph(sizes, within=0.5, between=0.03, seed=0):
    """The adjacency matrix of a random graph with groups of `sizes`, and the group of each node."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    chance = np.where(groups[:, None] == groups, within, between)
    upper = np.triu(rng.random(chance.shape) < chance, 1)
    return sp.csr_array((upper | upper.T).astype(float)), groups


def similarities(n=40, r=3, noise=0.1, seed=0):
    """A dense symmetric matrix of about rank r, with entries of either sign."""
    rng = np.random.default_rng(seed)
    b = rng.random((n, r)) * (rng.random((n, r)) < 0.5)
    e = rng.standard_normal((n, n))
    return b @ b.T + noise * (e + e.T) / 2


def relative(a, h):
    """‖A − H Hᵀ‖ / ‖A‖."""
    dense = a.toarray() if sp.issparse(a) else a
    return float(np.linalg.norm(dense - h @ h.T) / np.linalg.norm(dense))
