"""The root of c₁ + c₀/t + λ ln t, entry by entry, in one pass: the Wright omega function between two quotients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.kernels.cpu.compiling import compiled, inlined
from nmfkit.kernels.cpu.elementary import exp, log
from nmfkit.kernels.cpu.layout import frozen

Array = npt.NDArray[Any]

RUN = 256
EDGE = 700.0
"""Exponents that stay in the range of the fast exponential."""
LEAST, MOST = 1e-140, 1e140
"""Coefficients whose quotients the fast logarithm takes."""
NOTHING = 1e-250
"""A pull in terms of the weight that is as good as none."""
NEAR = 0.25
"""How far ω may be from where its steps start, for two of them to be right to 1e-12."""
STEEP = 1e14
"""Slopes in terms of the weight that the omega function takes."""


def tied_root(weight: Array, slope: Array, pull: Array, reach: float) -> Array | None:
    """t with slope − pull/t + weight ln t = 0, at most e^reach: all of one shape; None where an entry is out of range.

    The range: weights in 1e-140 … 1e140, pulls in the same or 0, slopes below 1e14 weights. Computed in float64, and
    returned in the dtype of the three.
    """
    dtype = np.result_type(weight, slope, pull)
    flat = [frozen(a, dtype).reshape(-1) for a in (weight, slope, pull)]
    t = np.empty(slope.size, dtype)
    return t.reshape(slope.shape) if _tied(*flat, t, math.exp(reach), dtype == np.float64) else None


@compiled
def _tied(weight: Any, slope: Any, pull: Any, t: Any, reach: Any, closely: Any) -> Any:
    for lo in range(0, len(t), RUN):
        hi = lo + RUN
        if not _run(weight[lo:hi], slope[lo:hi], pull[lo:hi], t[lo:hi], reach, closely):
            return False
    return True


@inlined
def _run(weight: Any, slope: Any, pull: Any, t: Any, reach: Any, closely: Any) -> Any:
    plain, near = np.int64(0), np.int64(0)
    for j in range(len(t)):
        inside = (weight[j] > LEAST) & (weight[j] < MOST) & (abs(slope[j]) < STEEP * weight[j])
        plain += np.int64(inside & ((pull[j] == 0) | ((pull[j] > LEAST) & (pull[j] < MOST))))
        off = abs(np.float64(slope[j]) - np.float64(pull[j]))
        near += np.int64((off <= NEAR * (np.float64(weight[j]) + np.float64(pull[j]))) & (pull[j] > 0))
    if plain != len(t):
        return False
    if near == len(t):
        for j in range(len(t)):
            t[j] = _root_near(np.float64(weight[j]), np.float64(slope[j]), np.float64(pull[j]), closely)
    else:
        for j in range(len(t)):
            t[j] = _root(np.float64(weight[j]), np.float64(slope[j]), np.float64(pull[j]), reach, closely)
    return True


@inlined
def _root(weight: Any, slope: Any, pull: Any, reach: Any, closely: Any) -> Any:
    ratio, part = slope / weight, pull / weight
    # Since u e^u = part e^ratio, part / u is e^(u − ratio), too: so a pull of nothing may count as next to nothing.
    part = max(part, NOTHING)
    return min(part / _omega(max(log(part) + ratio, -EDGE), closely), reach)


@inlined
def _root_near(weight: Any, slope: Any, pull: Any, closely: Any) -> Any:
    """The same where t is not far from 1, as in most steps: then ω is not far from `part`, where its steps start."""
    ratio, part = slope / weight, pull / weight
    y = _stepped(ratio - part, part)
    y = _stepped(ratio - y + log(part / y), y)
    if closely:
        y = _stepped(ratio - y + log(part / y), y)
    return part / y


@inlined
def _omega(q: Any, closely: Any) -> Any:
    """ω(q) for −EDGE ≤ q < 1e15; after two steps right to 1e-12 of itself, after three to its last digits."""
    e = exp(max(min(q, -2.0), -EDGE))
    low = e * (1.0 - e * (1.0 - 1.5 * e))
    middle = min(q, 2.5) - 1.0
    middle = 1.0 + 0.5 * middle + 0.0625 * middle * middle
    above = max(q, 2.5)
    ln = log(above)
    high = above - ln + ln / above
    y = low if q < -2.0 else (middle if q < 2.5 else high)
    y = _step(q, _step(q, y))
    return _step(q, y) if closely else y


@inlined
def _step(q: Any, y: Any) -> Any:
    return _stepped(q - y - log(y), y)


@inlined
def _stepped(residual: Any, y: Any) -> Any:
    """The next y from q − y − ln y."""
    a = 1.0 + y
    r = residual / a
    s = 2.0 * a * (1.0 + r * (2.0 / 3.0))
    return y * (1.0 + r * ((s - r) / (s - 2.0 * r)))
