"""Surrogates: separable majorisers that are sums of powers, and the algebra that lets parts add theirs.

With t = f / f̃ (new over old, entry by entry) a part's surrogate at f̃ is a mapping {power p: coefficient c_p}
that stands for  f̃ Σ_p c_p t^p / p  (f̃ c_0 ln t at p = 0). Its derivative in f is Σ_p c_p t^(p−1), so

- surrogates add by adding coefficients, and the sum majorises the sum of the parts;
- the gradient of the majorised function at f̃ is Σ_p c_p (t = 1);
- the next iterate is f̃ t with t the root of Σ_p c_p t^(p−1) = 0.

The coefficients are derivatives in f, not in t: an entry that is exactly zero then needs no special care.

One kind of term is no power: at the key `LOG` the derivative in f is c ln t, that of f̃ c (t ln t − t + 1), the
divergence of the new entry from the old one. It is 0 at t = 1, so the gradient there has no part of it.

**Contract.** Coefficients are nonnegative at powers > 1 and at `LOG`, nonpositive at powers < 1, of any sign at
power 1. The derivative is then nondecreasing in t, and there is at most one positive root; without one the minimum is
t = 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TypeAlias

import numpy as np

from nmfkit import kernels
from nmfkit.blocks import Array

Surrogate: TypeAlias = Mapping[float, Array]
"""{power, or `LOG`: coefficient array of the factor's shape (or broadcastable to it)}."""

LOG = math.inf
"""The key of the term whose derivative is c ln t, as a divergence from where the surrogate was made has it."""

REACH = 60.0
"""|ln t| that one step may reach: e^±60 leaves the range of any floor, and no overflow follows."""

NEAR = 1e-6
"""A step of ln t after which one more is exact: Newton's method doubles the digits."""

FURTHEST = 690.0
"""The largest `reach` in float64."""


def plus(*surrogates: Surrogate) -> Surrogate:
    """The surrogate of a sum of parts: coefficients of equal powers added."""
    total: dict[float, Array] = {}
    for surrogate in surrogates:
        for power, coefficient in surrogate.items():
            p = float(power)
            total[p] = total[p] + coefficient if p in total else coefficient
    return total


def gradient(surrogate: Surrogate) -> Array:
    """The gradient of the majorised function where the surrogate was made: Σ_p c_p over powers p, without `LOG`."""
    total: Array = reduce(np.add, [c if power != LOG else np.zeros_like(c) for power, c in surrogate.items()])
    return total


def root(surrogate: Surrogate, start: Array | None = None, reach: float = REACH, whole: int = 0) -> Array:
    """The t ≥ 0 that minimises the surrogate, entry by entry: Σ_p c_p t^(p−1) + c_LOG ln t = 0.

    Two powers p > q: (−c_q / c_p)^(1 / (p − q)). Three evenly spaced powers (as {2, 1, 0}: KL with L2 or a
    log-determinant): the positive root of a quadratic. `LOG` with powers 1 and 0 (KL with a divergence from a prior):
    the Wright omega function. Anything else: safeguarded Newton in ln t, from `start` where that is given. Entries
    without any slope (all coefficients zero) stay at t = 1; none goes beyond e^`reach`, which in float32 must be at
    most 80. `whole` is the number of rows of the factor that these are some of, if they are.
    """
    powers = sorted(surrogate, reverse=True)
    if LOG in surrogate:
        tied = {*powers} <= {LOG, 1.0, 0.0}
        return _logarithmic(surrogate, reach, whole) if tied else _newton(surrogate, start, reach)
    if len(powers) == 1:
        return _one_power(surrogate[powers[0]], reach)
    if len(powers) == 2:
        high, low = powers
        return kernels.power_root(surrogate[high], surrogate[low], high, low, reach)
    if len(powers) == 3 and np.isclose(powers[0] - powers[1], powers[1] - powers[2]):
        a, b, c = (surrogate[p] for p in powers)
        return kernels.quadratic_root(a, b, c, powers[0] - powers[1], reach)
    return _newton(surrogate, start, reach)


def _one_power(c: Array, reach: float) -> Array:
    """Σ is one term: it pushes to zero if it grows, and has no finite minimum if it falls."""
    return np.where(c > 0, np.zeros_like(c), np.where(c < 0, np.full_like(c, math.exp(reach)), np.ones_like(c)))


def _logarithmic(surrogate: Surrogate, reach: float, whole: int = 0) -> Array:
    """c₁ + c₀/t + λ ln t = 0, with zeros for the coefficients that are not there."""
    weight = surrogate[LOG]
    slope, pull = surrogate.get(1.0, np.zeros_like(weight)), -surrogate.get(0.0, np.zeros_like(weight))
    return kernels.tied_root(weight, slope, pull, reach, whole=whole)


def _newton(surrogate: Surrogate, start: Array | None = None, reach: float = REACH) -> Array:
    """Newton on ln P − ln N in z = ln t, where P and N are the rising and the falling terms' sizes, in float64.

    The function is nondecreasing in z and close to linear, so a few steps suffice; a bracket that every
    evaluation narrows takes over where a step leaves it. At the end comes a step on P − N itself, whose rounding
    is smaller.
    """
    dtype = np.result_type(*surrogate.values())
    sides = _Sides.of(surrogate, reach)
    z = np.zeros_like(sides.size)
    if start is not None:
        z = z + np.log(np.maximum(start.astype(np.float64, copy=False), math.exp(-reach)))
    lo, hi = np.full_like(z, -reach), np.full_like(z, reach)
    z = np.minimum(np.maximum(z, lo), hi)
    for _ in range(100):
        excess, slope = sides.excess(z)
        lo, hi = np.where(excess < 0, z, lo), np.where(excess > 0, z, hi)
        proposal = z - np.minimum(np.maximum(excess / np.maximum(slope, 1e-3), -8.0), 8.0)
        inside = (proposal >= lo) & (proposal <= hi)  # it may be where it was, up to rounding
        following = np.where(inside, proposal, (lo + hi) / 2)
        moved = np.where(sides.between, np.abs(following - z), np.zeros_like(z))
        z = following
        if bool(np.all(moved <= NEAR)):
            break
    t = np.exp(np.minimum(np.maximum(z - sides.correction(z), -reach), reach))
    edge = np.where(sides.pulls, np.full_like(t, math.exp(reach)), np.ones_like(t))
    found = np.where(sides.between, t, np.where(sides.pushes, np.zeros_like(t), edge))
    bounded: Array = np.minimum(found.astype(dtype, copy=False), math.exp(reach))
    return bounded


@dataclass(frozen=True)
class _Sides:
    """The rising and the falling terms as (exponent, size), sizes as fractions of the largest, `size`."""

    rising: list[tuple[float, Array]]
    falling: list[tuple[float, Array]]
    weight: Array | None
    size: Array
    offset: float

    @classmethod
    def of(cls, surrogate: Surrogate, reach: float) -> _Sides:
        """Power 1 may hold either sign, and so has ln t: on the falling side stands λ `offset` to make up for it."""
        wide = {power: c.astype(np.float64, copy=False) for power, c in surrogate.items()}
        size = reduce(np.maximum, (np.abs(c) for c in wide.values()))
        wide = {power: c / np.where(size > 0, size, np.ones_like(size)) for power, c in wide.items()}
        weight = wide.pop(LOG, None)
        rising = [(p - 1, np.maximum(c, 0)) for p, c in wide.items() if p >= 1]
        falling = [(p - 1, np.maximum(-c, 0)) for p, c in wide.items() if p <= 1]
        return cls(rising, falling, weight, size, reach + 1)

    @cached_property
    def pushes(self) -> Array:
        """Where anything rises."""
        return self._any(self.rising)

    @cached_property
    def pulls(self) -> Array:
        """Where anything falls."""
        return self._any(self.falling)

    @cached_property
    def between(self) -> Array:
        """Where there is a root between 0 and ∞."""
        return np.logical_and(self.pushes, self.pulls)

    def _any(self, terms: list[tuple[float, Array]]) -> Array:
        start = np.zeros_like(self.size) if self.weight is None else self.weight + np.zeros_like(self.size)
        found: Array = reduce(np.maximum, (c for _, c in terms), start) > 0
        return found

    def excess(self, z: Array) -> tuple[Array, Array]:
        """ln P − ln N and its slope in z; a sum of zeros counts as the smallest positive number."""
        (p, p_slope), (n, n_slope) = self._sums(z, self.offset)
        tiny = float(np.finfo(np.float64).tiny)
        p, n = np.maximum(p, tiny), np.maximum(n, tiny)
        return np.log(p) - np.log(n), p_slope / p - n_slope / n

    def correction(self, z: Array) -> Array:
        """The last, small Newton step on P − N + λ z."""
        (p, p_slope), (n, n_slope) = self._sums(z, 0.0)
        slope, rest = p_slope - n_slope, p - n
        small = (slope > 0) & (np.abs(rest) <= 1e-4 * slope)
        step: Array = np.where(small, rest, np.zeros_like(rest)) / np.where(small, slope, np.ones_like(slope))
        return step

    def _sums(self, z: Array, offset: float) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        e = np.exp(z)
        rising, falling = _sum(self.rising, z, e), _sum(self.falling, z, e)
        if self.weight is not None:
            rising = rising[0] + self.weight * (z + offset), rising[1] + self.weight
            falling = falling[0] + self.weight * offset, falling[1]
        return rising, falling


def _sum(terms: list[tuple[float, Array]], z: Array, e: Array) -> tuple[Array, Array]:
    """Σ c e^(k z) and its slope in z; `e` is e^z."""
    value, slope = np.zeros_like(z), np.zeros_like(z)
    for k, c in terms:
        if k == 0:
            value = value + c
            continue
        term = c * (e if k == 1 else 1 / e if k == -1 else np.exp(np.minimum(np.maximum(k * z, -FURTHEST), FURTHEST)))
        value, slope = value + term, slope + k * term
    return value, slope
