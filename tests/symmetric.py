"""Small symmetric matrices, and rules of all of H at once driven by hand, without a model."""

from __future__ import annotations

import numpy as np
from nmfkit_plugins.symnmf.rules import Facts

from nmfkit.blocks import Dense


def planted(n=60, rank=4, seed=0):
    """A = H Hᵀ for a sparse H that no other makes (n, n), and that H: some rows have one entry only."""
    rng = np.random.default_rng(seed)
    h = rng.random((n, rank)) * (rng.random((n, rank)) < 0.4)
    h[: 3 * rank] = np.repeat(np.eye(rank), 3, axis=0)
    return h @ h.T, h


def similarity(n=40, seed=0, signed=False):
    """A noisy matrix of communities; two of its rows are zero."""
    rng = np.random.default_rng(seed)
    a = 0.1 * rng.random((n, n)) + np.kron(np.eye(4), np.ones((n // 4, n // 4)))
    if signed:
        a -= 0.4
    a = (a + a.T) / 2
    a[[3, 11]] = a[:, [3, 11]] = 0
    return a


def beginning(a, rank=4, seed=0):
    """A random H at the scale of A, zero where A is."""
    h = 2 * np.sqrt(np.abs(a).mean() / rank) * np.random.default_rng(seed).random((len(a), rank))
    h[~a.any(axis=1)] = 0
    return h


def objective(a, h):
    return 0.5 * np.sum((a - h @ h.T) ** 2)


def facts_of(a):
    top = float(np.linalg.norm(a, 2))
    return Facts(len(a), float(np.linalg.norm(a)), float(a.max()), float(a.min()), top)


def driven(rule, a, h, sweeps, block=Dense):
    """The H that counts after each sweep and its objective, from the products as a model has them."""
    squares = float(np.sum(np.square(a, dtype=np.float64)))
    state, found = rule.begin(h, facts_of(a), block(a) if rule.keeps_matrix else None), []
    for _ in range(sweeps):
        product, wide = a @ h, h.astype(np.float64)
        value = 0.5 * (squares - 2 * float(np.sum(wide * product)) + float(np.sum((wide.T @ wide) ** 2)))
        back = rule.refused(state, value)
        if back is not None:
            h, state = back
            found.append(found[-1])
        else:
            found.append((h, value))
            h, state = rule.move(h, product, {**state, "objective": value})
    return found
