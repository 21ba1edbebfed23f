"""A start for A ≈ H Hᵀ from the leading eigenvectors of A, turned towards nonnegative ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import UsageError
from nmfkit.executors.rows import ResidentRows
from nmfkit.probe import Probe
from nmfkit.protocols import RowStore, Sweep
from nmfkit_plugins.symnmf.range_finder import drawn, leading_eigenpairs, products

OVERSAMPLE = 8
"""Extra columns of the block, as those of NNDSVD."""
TOLERANCE = 1e-2
"""Residuals of the eigenpairs, to the largest eigenvalue: on graphs of images, fits from closer ones end the same."""
LIFT = 0.01
"""The least entry of the start, to its mean: from zero, some rules do not come away."""
TIE = 1e-6
"""What counts as equal where rounding must not choose between rows or signs."""


@dataclass(frozen=True)
class Eigen:
    """H from V Λ^½, the leading eigenvectors of A by the roots of their eigenvalues, where these are positive.

    V Λ^½ R is as close to A as V Λ^½ is, for every rotation R. With `turn`, R is the one for which the rows that differ
    most lie along the axes: pivoted rows and a polar factor, as Damle, Minden & Ying, Information and Inference 8(1),
    2019, find clusters. Without, each eigenvector stands for itself; what it then is where eigenvalues are nearly
    equal, as in a graph of several parts, is left to chance. Of each column the longer of the positive and negative
    parts is kept, and its zeros are lifted to 1 % of the mean. Columns beyond the positive eigenvalues are constant.

    A may have entries of both signs. `passes` bounds the products with A: 15 or so do for a graph with clusters. The
    search holds up to 13 arrays of n × (rank + 8) numbers in memory, beside what `--memory` is for.
    """

    turn: bool = True
    passes: int = 60

    symmetric: ClassVar[bool] = True
    makes_zeros: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.passes < 1:
            raise ValueError(f"passes must be at least 1, not {self.passes}")

    def start(self, sweep: Sweep, probe: Probe, rank: int, seed: int, dtype: Any) -> tuple[RowStore, Array]:
        """Rows {"w": (n, rank)} and H = Wᵀ; raises `UsageError` unless the matrix is its own transpose."""
        m, n = probe.shape
        if m != n:
            raise UsageError(
                f"init eigen starts from a symmetric matrix, and this one is {m} × {n}: use --init nndsvda or random"
            )
        count = min(rank, n)
        block = drawn(n, min(count + OVERSAMPLE, n), seed, dtype)
        found = leading_eigenpairs(products(sweep), block, count, tol=TOLERANCE, passes=self.passes)
        h = lifted(self._columns(found.values, found.vectors), rank, probe).astype(dtype)
        return ResidentRows({"w": h}), np.ascontiguousarray(h.T)

    def _columns(self, values: Array, vectors: Array) -> Array:
        """The nonnegative columns (n, k), one for each positive eigenvalue."""
        positive = values > float(np.max(np.abs(values))) * np.finfo(values.dtype).eps * len(vectors)
        scaled = vectors[:, positive] * np.sqrt(values[positive])
        return longer_parts(scaled @ towards_axes(scaled) if self.turn else scaled)


def towards_axes(f: Array) -> Array:
    """The rotation (k, k) that brings k rows of F (n, k), each far from the span of those before, near to the axes."""
    left, _, right = np.linalg.svd(f[pivots(f)])
    rotation: Array = right.T @ left.T
    return rotation


def pivots(f: Array) -> list[int]:
    """The row of F that is longest outside the span of the rows chosen before, k times; of equals, the first."""
    rest, chosen = f.astype(np.float64), []
    for _ in range(f.shape[1]):
        squares = np.sum(rest**2, axis=1)
        chosen.append(int(np.argmax(squares >= (1 - TIE) * np.max(squares))))
        direction = rest[chosen[-1]] / max(float(np.linalg.norm(rest[chosen[-1]])), np.finfo(np.float64).tiny)
        rest = rest - np.outer(rest @ direction, direction)
    return chosen


def longer_parts(f: Array) -> Array:
    """Of each column the longer of its positive and negative parts; of equals, that of its first largest entry."""
    size = np.abs(f)
    first = np.argmax(size >= (1 - TIE) * np.max(size, axis=0), axis=0)
    f = f * np.where(f[first, np.arange(f.shape[1])] < 0, -1.0, 1.0).astype(f.dtype)
    positive, negative = np.maximum(f, 0), np.maximum(-f, 0)
    flips = np.sum(negative**2, axis=0) > (1 + TIE) * np.sum(positive**2, axis=0)
    return np.where(flips, negative, positive)


def lifted(f: Array, rank: int, probe: Probe) -> Array:
    """F (n, k) with nothing below `LIFT` of its mean, and constant columns up to `rank`."""
    scale = float(np.sqrt(abs(probe.mean) / rank))
    mean = float(np.mean(f)) if f.size else 0.0
    lift = LIFT * (mean if mean > 0 else scale)
    full = np.full_like(f, lift, shape=(len(f), rank))
    full[:, : f.shape[1]] = np.maximum(f, lift)
    return full
