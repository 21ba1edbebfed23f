"""H made better for the rows of W as they are: the encoder gives W, and H is then a convex problem."""

from __future__ import annotations

import numpy as np

from nmfkit import kernels
from nmfkit.blocks import Array

FAINT = 2.0**-26
"""Eigenvalues of WᵀW below that part of the largest one, times r, have lost half of their digits to rounding."""


def polished(h: Array, gram: Array, cross: Array, *, relaxed: bool, sweeps: int) -> Array:
    """H (r, N) that lowers ‖W H − Y‖², in the dtype of `h`, from `gram` = WᵀW (r, r) and `cross` = WᵀY (r, N).

    `sweeps` sweeps of hierarchical alternating least squares over H ≥ 0 (Cichocki & Phan, IEICE Trans. E92-A(3), 2009),
    or the least squares solution nearest to `h` where `relaxed`. A column that comes out no better stays as it is.
    """
    made = _solved(h, gram, cross) if relaxed else kernels.hals(h.T, gram, cross.T, sweeps).T
    made = made.astype(h.dtype)
    better = _values(made, gram, cross) < _values(h, gram, cross)
    found: Array = np.where(better, made, h)
    return found


def _solved(h: Array, gram: Array, cross: Array) -> Array:
    """H + (WᵀW)⁺ (WᵀY − WᵀW H), by the eigenvectors of WᵀW scaled to a unit diagonal.

    Directions that W hardly has are left out, and H keeps them: a factorization would fail there, or follow rounding,
    and the next step of the training with it.
    """
    gram, wide = gram.astype(np.float64), h.astype(np.float64)
    sizes = np.sqrt(np.diagonal(gram))
    over = np.where(sizes > 0, 1 / np.where(sizes > 0, sizes, 1.0), 0.0)
    values, axes = np.linalg.eigh(gram * over[:, None] * over)
    least = len(h) * max(FAINT, float(np.finfo(h.dtype).eps)) * values[-1]
    inverse = np.where(values > least, 1 / np.where(values > least, values, 1.0), 0.0)
    missing = (cross.astype(np.float64) - gram @ wide) * over[:, None]
    found: Array = wide + over[:, None] * (axes @ (inverse[:, None] * (axes.T @ missing)))
    return found


def _values(h: Array, gram: Array, cross: Array) -> Array:
    """‖W h_j − y_j‖² − ‖y_j‖² of each column, (N,), in float64."""
    wide = h.astype(np.float64)
    found: Array = np.sum(wide * (gram.astype(np.float64) @ wide - 2 * cross.astype(np.float64)), axis=0)
    return found
