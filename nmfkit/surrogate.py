"""Surrogates: separable majorisers that are sums of powers, and the algebra that lets parts add theirs.

With t = f / f̃ (new over old, entry by entry) a part's surrogate at f̃ is a mapping {power p: coefficient c_p}
that stands for  f̃ Σ_p c_p t^p / p  (f̃ c_0 ln t at p = 0). Its derivative in f is Σ_p c_p t^(p−1), so

- surrogates add by adding coefficients, and the sum majorises the sum of the parts;
- the gradient of the majorised function at f̃ is Σ_p c_p (t = 1);
- the next iterate is f̃ t with t the root of Σ_p c_p t^(p−1) = 0.

The coefficients are derivatives in f, not in t: an entry that is exactly zero then needs no special care.

**Contract.** Coefficients are nonnegative at powers > 1, nonpositive at powers < 1, of any sign at power 1. The
derivative is then nondecreasing in t, and there is at most one positive root; without one the minimum is t = 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from typing import TypeAlias

import numpy as np

from nmfkit.blocks import Array

Surrogate: TypeAlias = Mapping[float, Array]
"""{power: coefficient array of the factor's shape (or broadcastable to it)}."""

REACH = 60.0
"""|ln t| that one step may reach: e^±60 leaves the range of any floor, and no overflow follows."""


def plus(*surrogates: Surrogate) -> Surrogate:
    """The surrogate of a sum of parts: coefficients of equal powers added."""
    total: dict[float, Array] = {}
    for surrogate in surrogates:
        for power, coefficient in surrogate.items():
            p = float(power)
            total[p] = total[p] + coefficient if p in total else coefficient
    return total


def gradient(surrogate: Surrogate) -> Array:
    """The gradient of the majorised function where the surrogate was made: Σ_p c_p."""
    total: Array = reduce(np.add, surrogate.values())
    return total


def root(surrogate: Surrogate) -> Array:
    """The t ≥ 0 that minimises the surrogate, entry by entry: Σ_p c_p t^(p−1) = 0.

    Two powers p > q: (−c_q / c_p)^(1 / (p − q)). Three evenly spaced powers (as {2, 1, 0}: KL with L2 or a
    log-determinant): the positive root of a quadratic. Anything else: safeguarded Newton in ln t. Entries
    without any slope (all coefficients zero) stay at t = 1.
    """
    powers = sorted(surrogate, reverse=True)
    if len(powers) == 1:
        t = _one_power(surrogate[powers[0]], powers[0])
    elif len(powers) == 2:
        high, low = powers
        t = _two_powers(surrogate[high], surrogate[low], high, low)
    elif len(powers) == 3 and np.isclose(powers[0] - powers[1], powers[1] - powers[2]):
        t = _unspaced(_quadratic(*(surrogate[p] for p in powers)), powers[0] - powers[1])
    else:
        t = _newton(surrogate)
    bounded: Array = np.minimum(t, math.exp(REACH))
    return bounded


def _unspaced(s: Array, spacing: float) -> Array:
    """t from s = t^spacing, as far as one step may reach."""
    if spacing == 1.0:
        return s
    ceiling = min(np.exp(REACH * spacing), float(np.finfo(s.dtype).max))
    t: Array = np.minimum(s, np.full_like(s, ceiling)) ** (1.0 / spacing)
    return t


def _one_power(c: Array, power: float) -> Array:
    """Σ is one term: it pushes to zero if it grows, and has no finite minimum if it falls."""
    del power
    return np.where(c > 0, np.zeros_like(c), np.where(c < 0, np.full_like(c, np.exp(REACH)), np.ones_like(c)))


def _ratio(numerator: Array, denominator: Array) -> Array:
    """numerator / denominator for nonnegative arrays; 0 / 0 is 1 (nothing pulls), n / 0 is huge."""
    safe = np.maximum(denominator, float(np.finfo(denominator.dtype).tiny))
    with np.errstate(over="ignore"):
        quotient: Array = numerator / safe
    if bool(np.all(denominator > 0)):
        return quotient
    ratio: Array = np.where((denominator > 0) | (numerator > 0), quotient, np.ones_like(quotient))
    return ratio


def _two_powers(high: Array, low: Array, high_power: float, low_power: float) -> Array:
    # Power 1 may have either sign, and two powers on one side of it have no root between. Where it pushes only down,
    # as it nearly always does, nothing needs to be sorted out.
    as_usual = low_power < 1 <= high_power and (high_power > 1 or bool(np.all(high >= 0)))
    falling = -low if as_usual else np.maximum(-low, 0) + np.maximum(-high, 0)
    rising = high if as_usual else np.maximum(high, 0) + np.maximum(low, 0)
    return _unspaced(_ratio(falling, rising), high_power - low_power)


def _quadratic(a: Array, b: Array, c: Array) -> Array:
    """The root s ≥ 0 of a s² + b s + c = 0, without cancellation for either sign of b.

    Where every term rises s is 0, where every term falls it is huge, and where there is none it is 1.
    """
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


def _newton(surrogate: Surrogate) -> Array:
    """Newton on ln P − ln N in z = ln t, where P and N are the rising and the falling terms' sizes.

    The function is nondecreasing in z and close to linear, so a few steps suffice; a bracket that every
    evaluation narrows takes over where a step leaves it.
    """
    dtype = np.result_type(*surrogate.values())
    rising, falling = _signed_terms({power: c.astype(dtype, copy=False) for power, c in surrogate.items()})
    shape = np.broadcast_arrays(*(c for _, c in rising), *(c for _, c in falling))[0]
    z = np.zeros_like(shape)
    lo, hi = np.full_like(z, -REACH), np.full_like(z, REACH)
    tolerance = 4 * float(np.finfo(z.dtype).eps)
    for _ in range(100):
        p, p_slope = _log_sum(rising, z)
        n, n_slope = _log_sum(falling, z)
        excess = p - n
        lo, hi = np.where(excess < 0, z, lo), np.where(excess > 0, z, hi)
        step = excess / np.maximum(p_slope - n_slope, 1e-3)
        proposal = z - np.minimum(np.maximum(step, -8.0), 8.0)
        inside = (proposal > lo) & (proposal < hi)
        following = np.where(excess == 0, z, np.where(inside, proposal, (lo + hi) / 2))
        moved = np.abs(following - z)
        z = following
        if bool(np.all(moved <= tolerance * (1 + np.abs(z)))):
            break
    t = np.exp(z)
    pull = reduce(np.maximum, (c for _, c in falling))
    push = reduce(np.maximum, (c for _, c in rising))
    found: Array = np.where(pull > 0, t, np.where(push > 0, np.zeros_like(t), np.ones_like(t)))
    return found


def _signed_terms(surrogate: Surrogate) -> tuple[list[tuple[float, Array]], list[tuple[float, Array]]]:
    """(exponent, size) of the rising and of the falling terms; power 1 may hold either sign."""
    rising: list[tuple[float, Array]] = []
    falling: list[tuple[float, Array]] = []
    for power, c in surrogate.items():
        if power >= 1:
            rising.append((power - 1, np.maximum(c, 0)))
        if power <= 1:
            falling.append((power - 1, np.maximum(-c, 0)))
    empty = np.zeros_like(next(iter(surrogate.values())))
    return rising or [(0.0, empty)], falling or [(0.0, empty)]


def _log_sum(terms: list[tuple[float, Array]], z: Array) -> tuple[Array, Array]:
    """ln Σ c e^(k z) and its slope in z; a sum of zeros counts as the smallest positive number."""
    tiny = float(np.finfo(z.dtype).tiny)
    logs = [np.log(np.maximum(c, tiny)) + k * z for k, c in terms]
    top = reduce(np.maximum, logs)
    weights = [np.exp(value - top) for value in logs]
    total = reduce(np.add, weights)
    slope = reduce(np.add, [k * w for (k, _), w in zip(terms, weights, strict=True)]) / total
    return top + np.log(total), slope
