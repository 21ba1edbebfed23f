"""Roots of surrogates of few terms, in NumPy alone: two powers, three evenly spaced ones, powers 1 and 0 with ln t."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.omega import omega

Array = npt.NDArray[Any]

NEGLIGIBLE = 1e-200
"""A weight of ln t below this fraction of the other coefficients moves no root that one step may reach."""


def power_root(high: Array, low: Array, high_power: float, low_power: float, reach: float) -> Array:
    """(−low / high)^(1 / (p − q)) for powers p > q, where high rises and low falls."""
    # Power 1 may have either sign, and two powers on one side of it have no root between. Where it pushes only down,
    # as it nearly always does, nothing needs to be sorted out.
    as_usual = low_power < 1 <= high_power and (high_power > 1 or bool(np.all(high >= 0)))
    falling = -low if as_usual else np.maximum(-low, 0) + np.maximum(-high, 0)
    rising = high if as_usual else np.maximum(high, 0) + np.maximum(low, 0)
    return _unspaced(_ratio(falling, rising), high_power - low_power, reach)


def quadratic_root(a: Array, b: Array, c: Array, spacing: float, reach: float) -> Array:
    """s^(1/spacing) for the root s ≥ 0 of a s² + b s + c = 0.

    Where every term rises it is 0, where every term falls it is huge, and where there is none it is 1.
    """
    return _unspaced(_quadratic(a, b, c), spacing, reach)


def tied_root(weight: Array, slope: Array, pull: Array, reach: float) -> Array:
    """With u + ln u = ln(pull/weight) + slope/weight, t = pull/(weight u), and t = e^(u − slope/weight) for small u.

    Only logarithms and ratios are formed, never e^(slope/weight), which overflows for small weights; where the weight
    is nothing beside the other coefficients the root is that of the powers alone.
    """
    dtype = np.result_type(weight, slope, pull)
    weight, slope, pull = (c.astype(np.float64, copy=False) for c in (weight, slope, pull))
    counts = weight > NEGLIGIBLE * np.maximum(np.abs(slope), pull)
    scale = np.where(counts, weight, np.ones_like(weight))
    ratio = np.where(counts, slope, np.zeros_like(slope)) / scale
    tiny = float(np.finfo(np.float64).tiny)
    u = np.where(pull > 0, omega(np.log(np.maximum(pull, tiny)) - np.log(scale) + ratio), np.zeros_like(pull))
    t = np.where(u > 1e-3, pull / (scale * np.maximum(u, 1e-3)), np.exp(np.minimum(u - ratio, reach)))
    if not bool(np.all(counts)):
        t = np.where(counts, t, power_root(slope, -pull, 1.0, 0.0, reach))
    found: Array = np.minimum(t, math.exp(reach)).astype(dtype, copy=False)
    return found


def ceiling_of(dtype: np.dtype[Any], spacing: float, reach: float) -> float:
    """The s = t^spacing that one step may reach, as far as the dtype has it."""
    highest = float(np.finfo(dtype).max)
    return min(math.exp(min(reach * spacing, math.log(highest))), highest)


def _unspaced(s: Array, spacing: float, reach: float) -> Array:
    """t from s = t^spacing, as far as one step may reach."""
    if spacing != 1.0:
        s = np.minimum(s, np.full_like(s, ceiling_of(s.dtype, spacing, reach))) ** (1.0 / spacing)
    t: Array = np.minimum(s, math.exp(reach))
    return t


def _ratio(numerator: Array, denominator: Array) -> Array:
    """numerator / denominator for nonnegative arrays; 0 / 0 is 1 (nothing pulls), n / 0 is huge."""
    safe = np.maximum(denominator, float(np.finfo(denominator.dtype).tiny))
    with np.errstate(over="ignore"):
        quotient: Array = numerator / safe
    if bool(np.all(denominator > 0)):
        return quotient
    ratio: Array = np.where((denominator > 0) | (numerator > 0), quotient, np.ones_like(quotient))
    return ratio


def _quadratic(a: Array, b: Array, c: Array) -> Array:
    """The root s ≥ 0, without cancellation for either sign of b."""
    scale = np.maximum(np.maximum(np.abs(a), np.abs(b)), np.abs(c))
    scale = np.where(scale > 0, scale, np.ones_like(scale))  # squares then neither overflow nor vanish
    a, b, c = a / scale, b / scale, c / scale
    rising, minus_c = np.maximum(a, 0), np.maximum(-c, 0)
    r = np.sqrt(b * b + 4 * rising * minus_c)
    falling = np.where(a > 0, r - b, minus_c - b - a)
    return np.where(
        b > 0,
        _ratio(2 * minus_c, np.maximum(b + r, 0)),
        _ratio(np.maximum(falling, 0), 2 * rising + np.maximum(c, 0)),
    )
