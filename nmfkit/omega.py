"""The Wright omega function of real arguments: y + ln y = q, so that y = W(e^q) without forming e^q.

After Fritsch, Shafer & Crowley, Communications of the ACM 16(2), 1973 (algorithm 443): a start that is right to some
per cent, then steps of fourth order. In float64 the result is right to about 1e-15 of itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

STEPS = 3
"""Errors after each step, at worst: 3e-3, 1e-12, 1e-15."""

LEAST = -50.0
"""Below it ω(q) = e^q in float64."""


def omega(q: Array) -> Array:
    """ω(q) > 0, entry by entry, of finite q; computed in float64 and returned in the dtype of `q`."""
    wide = q.astype(np.float64, copy=False)
    inner = np.maximum(wide, LEAST)
    y = _start(inner)
    for _ in range(STEPS):
        y = _refined(inner, y)
    if bool(np.any(wide < LEAST)):
        y = np.where(wide < LEAST, np.exp(np.minimum(wide, LEAST)), y)
    return y.astype(q.dtype, copy=False)


def _start(q: Array) -> Array:
    """Series of ω below −2, about 1, and above 2.5."""
    e = np.exp(np.minimum(q, -2.0))
    low = e * (1 - e * (1 - 1.5 * e))
    middle = 1 + (q - 1) / 2 + np.square(np.minimum(q, 2.5) - 1) / 16
    above = np.maximum(q, 2.5)
    log = np.log(above)
    y: Array = np.where(q < -2, low, np.where(q < 2.5, middle, above - log + log / above))
    return y


def _refined(q: Array, y: Array) -> Array:
    """One step; the residual over a = 1 + y keeps its squares out of the formula, so nothing overflows."""
    a = 1 + y
    r = (q - y - np.log(y)) / a
    s = 2 * a * (1 + r * (2 / 3))
    following: Array = y * (1 + r * ((s - r) / (s - 2 * r)))
    return following
