"""Coordinate descent for ½ ‖A − H Hᵀ‖², A symmetric: the reference, an entry of H after the other.

For x = h_ij alone the objective is x⁴/4 + a x²/2 + b x and a constant, times 2, with
a = g_jj + r_i − 2x² − a_ii and b = Σ_l h_il g_lj − r_i x − x (g_jj − x²) − ((A H)_ij − a_ii x) at the present x, where
G = HᵀH and r_i = ‖h_i‖². Vandaele, Gillis, Lei, Zhong & Dhillon, IEEE Trans. Signal Process. 64(21), 2016.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

POLISH = 3
"""Newton steps after the formula, which cancels where a is large."""


def symmetric_cd(values: Array, indices: Array, indptr: Array, h: Array, inner: int) -> Array:
    """`inner` sweeps over the entries of `h` (n, r), in its dtype; computed in float64."""
    wide = h.astype(np.float64, copy=True)
    gram = wide.T @ wide
    ends = indptr.tolist()
    for i in list(range(len(h))) * inner:
        stored = slice(ends[i], ends[i + 1])
        at, entries = indices[stored], values[stored].astype(np.float64)
        product = entries @ wide[at]
        own = float(np.sum(np.where(at == i, entries, 0.0)))
        _row(wide[i], gram, product, own)
    return wide.astype(h.dtype)


def _row(h: Array, gram: Array, product: Array, own: float) -> None:
    """The entries of one row, with G kept up to date; `product` is the row of A H at its start."""
    norm = float(np.sum(np.square(h)))
    for j in range(len(h)):
        x, curvature = float(h[j]), float(gram[j, j])
        # Of this row only h_ij is in (A H)_ij, so that `product` holds until it is changed.
        new = quartic_minimum(*coefficients(x, curvature, norm, own, float(np.sum(h * gram[j])), float(product[j])))
        if new != x:
            gram[j] += (new - x) * h
            gram[:, j] = gram[j]
            gram[j, j] = curvature + (new - x) * (new + x)
            norm += (new - x) * (new + x)
            h[j] = new


def coefficients(
    x: float, curvature: float, norm: float, own: float, slope: float, product: float
) -> tuple[float, float]:
    """A and b for x = h_ij, from g_jj, r_i, a_ii, Σ_l h_il g_lj and (A H)_ij."""
    a = curvature + norm - 2 * x * x - own
    return a, slope - norm * x - x * (curvature - x * x) - (product - own * x)


def quartic_minimum(a: float, b: float) -> float:
    """The x ≥ 0 with the least x⁴/4 + a x²/2 + b x: a root of x³ + a x + b, or 0."""
    if a >= 0 and b >= 0:
        return 0.0
    inside = a * a * a / 27 + b * b / 4
    if inside > 0:
        root = math.sqrt(inside)
        x = math.cbrt(-b / 2 + root) + math.cbrt(-b / 2 - root)
    else:
        third = math.sqrt(-a / 3)
        x = 2 * third * math.cos(math.acos(max(-1.0, min(1.0, 1.5 * b / (a * third)))) / 3)
    for _ in range(POLISH):
        slope = 3 * x * x + a
        if slope > 0:
            x -= (x * x * x + a * x + b) / slope
    return x if x > 0 and x * (x * x * x / 4 + a * x / 2 + b) < 0 else 0.0
