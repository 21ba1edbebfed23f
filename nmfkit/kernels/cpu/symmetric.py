"""Coordinate descent for ½ ‖A − H Hᵀ‖²: the loops of `nmfkit.kernels.symmetric`, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.kernels.cpu.compiling import compiled, inlined, reducing
from nmfkit.kernels.cpu.layout import frozen
from nmfkit.kernels.cpu.sparse import places, starts
from nmfkit.kernels.symmetric import POLISH

Array = npt.NDArray[Any]


def symmetric_cd(values: Array, indices: Array, indptr: Array, h: Array, inner: int) -> Array:
    """`inner` sweeps over the entries of `h` (n, r), in its dtype; computed in float64."""
    wide = np.array(h, np.float64, order="C")
    _sweeps(frozen(values), places(indices), starts(indptr), wide, wide.T @ wide, inner)
    return wide.astype(h.dtype)


@inlined
def _quartic_minimum(a: Any, b: Any) -> Any:
    if a >= 0 and b >= 0:
        return 0.0
    inside = a * a * a / 27 + b * b / 4
    if inside > 0:
        root = np.sqrt(inside)
        x = np.cbrt(-b / 2 + root) + np.cbrt(-b / 2 - root)
    else:
        third = np.sqrt(-a / 3)
        x = 2 * third * np.cos(np.arccos(max(-1.0, min(1.0, 1.5 * b / (a * third)))) / 3)
    for _ in range(POLISH):
        slope = 3 * x * x + a
        if slope > 0:
            x -= (x * x * x + a * x + b) / slope
    return x if x > 0 and x * (x * x * x / 4 + a * x / 2 + b) < 0 else 0.0


@reducing
def _inner(a: Any, b: Any) -> Any:
    total = 0.0
    for k in range(len(a)):
        total += a[k] * b[k]
    return total


@reducing
def _multiply(values: Any, at: Any, h: Any, product: Any) -> None:
    """One row of A H."""
    product[:] = 0
    for p in range(len(values)):
        entry, row = np.float64(values[p]), h[at[p]]
        for k in range(len(product)):
            product[k] += entry * row[k]


@compiled
def _sweeps(values: Any, indices: Any, indptr: Any, h: Any, gram: Any, inner: Any) -> None:
    n, rank = h.shape
    product = np.empty(rank)
    for turn in range(n * inner):
        i = turn % n
        entries, at = values[indptr[i] : indptr[i + 1]], indices[indptr[i] : indptr[i + 1]]
        _multiply(entries, at, h, product)
        own = 0.0
        for p in range(len(at)):
            if at[p] == i:
                own += entries[p]
        row = h[i]
        norm = _inner(row, row)
        for j in range(rank):
            x, curvature, slopes = row[j], gram[j, j], gram[j]
            a = curvature + norm - 2 * x * x - own
            b = _inner(row, slopes) - norm * x - x * (curvature - x * x) - (product[j] - own * x)
            new = _quartic_minimum(a, b)
            if new != x:
                for k in range(rank):
                    slopes[k] += (new - x) * row[k]
                slopes[j] = curvature + (new - x) * (new + x)
                for k in range(rank):
                    gram[k, j] = slopes[k]
                norm += (new - x) * (new + x)
                row[j] = new
