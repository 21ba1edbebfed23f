"""Rows of a tall factor that stand for all of them in a product, drawn by their leverage."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nmfkit.blocks import Array

NEGLIGIBLE = 1e-12
"""Directions of V in which it is so much shorter than in its longest, in squares, count as none."""
TINY = float(np.finfo(np.float64).tiny)


class Sample(NamedTuple):
    """Numbers of rows (s,), ascending, and what each counts (s,)."""

    rows: Array
    weights: Array

    def weighted(self, v: Array) -> Array:
        """The rows of V, each times what it counts: A[:, rows] times this is about A V."""
        weighted: Array = v[self.rows] * self.weights[:, None].astype(v.dtype)
        return weighted

    def gram(self, v: Array) -> Array:
        """About VᵀV (r, r), in float64."""
        wide = v[self.rows].astype(np.float64)
        gram: Array = (wide * self.weights[:, None]).T @ wide
        return gram


def leverage_scores(v: Array) -> Array:
    """ℓ_i = ‖R⁻ᵀ v_i‖² / rank (n,) with RᵀR = VᵀV for V (n, r), so that they add up to 1; equal ones for V = 0."""
    wide = v.astype(np.float64)
    squares, axes = np.linalg.eigh(wide.T @ wide)
    used = squares > NEGLIGIBLE * squares[-1]
    if not bool(used.any()):
        return np.full_like(wide, 1 / len(wide), shape=(len(wide),))
    lengths: Array = np.sum(np.square(wide @ (axes[:, used] / np.sqrt(squares[used]))), axis=1)
    scores: Array = lengths / np.sum(lengths)
    return scores


def hybrid_sample(scores: Array, size: int, start: float) -> Sample:
    """`size` rows: those with a score above 1/size for certain, the others drawn by their scores.

    One that is certain counts as itself, one drawn c times of s as c / (s p) with p its chance among those that are
    not certain. So Σ weight · a vᵀ has the sum over all rows for its mean over the `start`, uniform in [0, 1), of the
    draws, which are systematic: one in each s-th part of the sum of chances, all at the same place in theirs. The
    hybrid is that of Hayashi, Aksoy, Ballard & Park, SIAM J. Matrix Anal. Appl. 46(1), 2025; with `size` in the place
    of s the sum would be too small. A `size` of n takes every row once.
    """
    n = len(scores)
    certain = scores > 1 / size if size < n else scores >= 0
    draws = size - int(np.count_nonzero(certain))
    chances = np.where(certain, np.zeros_like(scores), scores)
    total = float(np.sum(chances))
    if total == 0:  # nothing but zeros is left
        draws, total = 0, 1.0
    counts = draws_in_each(chances / total, draws, start)
    weights = np.where(certain, np.ones_like(scores), counts / np.maximum(draws * chances / total, TINY))
    rows = np.nonzero(weights > 0)[0]
    return Sample(rows, weights[rows])


def draws_in_each(chances: Array, draws: int, start: float) -> Array:
    """How many of the points (k + start) / draws, k = 0, 1, …, fall on each of the chances (n,), laid end to end."""
    ends = np.cumsum(chances)
    before = np.ceil(draws * ends / max(float(ends[-1]), TINY) - start)
    counts: Array = np.diff(np.concatenate([np.zeros_like(before[:1]), np.maximum(before, 0)]))
    return counts
