"""Dense data: value and halves of a β-divergence in one pass over x and ŷ.

A run of entries that all lie in the range of the fast formulas takes them; one with a subnormal number, a zero
that is divided by or anything not finite takes the definitions, entry by entry. A run is summed in the data's own
precision, the runs in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.kernels.cpu.compiling import compiled, inlined, per_constant, reducing
from nmfkit.kernels.cpu.elementary import log, power
from nmfkit.kernels.cpu.layout import flat, frozen
from nmfkit.kernels.floors import floor_for

Array = npt.NDArray[Any]

RUN = 512
SPECIAL = {0.0: 0, 0.5: 1, 1.5: 2, -1.0: 3, 3.0: 4}
"""β whose powers are products, quotients and square roots, and the number of the kernel that makes them."""
GENERAL = 5


def kl_split(x: Array, y: Array) -> float:
    """Σ x ln(x/ŷ) − x, with x/ŷ in the place of ŷ: `x`, `y` of one shape."""
    info = np.finfo(y.dtype)
    floor = y.dtype.type(floor_for(y.dtype, 1.0))
    with flat(y) as ratio:
        return float(_kl(frozen(x, y.dtype).reshape(-1), ratio, floor, info.max / 64, info.tiny))


@compiled
def _kl(x: Any, y: Any, floor: Any, most: Any, tiny: Any) -> Any:
    total = 0.0
    for lo in range(0, len(x), RUN):
        total += kl_run(x[lo : lo + RUN], y[lo : lo + RUN], floor, most, tiny)
    return total


@reducing
def kl_run(x: Any, y: Any, floor: Any, most: Any, tiny: Any) -> Any:
    """Σ x ln(x/ŷ) − x of one run, with x/ŷ in the place of ŷ."""
    plain = np.int32(0)
    for j in range(len(x)):
        plain += np.int32((y[j] >= floor) & (x[j] <= y[j] * most))
    if plain != len(x):
        return _kl_exact(x, y, floor)
    total = y.dtype.type(0)
    for j in range(len(x)):
        y[j] = ratio = x[j] / y[j]
        # Where x = 0 any finite logarithm will do.
        total += x[j] * log(max(ratio, tiny)) - x[j]
    return np.float64(total)


@inlined
def _kl_exact(x: Any, y: Any, floor: Any) -> Any:
    total = 0.0
    for j in range(len(x)):
        if x[j] != 0:
            v = np.float64(x[j])
            total += v * (np.log(v) - np.log(np.float64(y[j]))) - v
        y[j] = x[j] / max(y[j], floor)
    return total


def beta_split(x: Array, y: Array, beta: float, pos: Array, neg: Array) -> float:
    """Σ d_β(x, ŷ), ŷ^(β−1) in `pos` (which may be `y`) and x ŷ^(β−2) in `neg`: all of one shape, β ∉ {1, 2}."""
    if pos is not y:
        np.copyto(pos, y)
    dtype = pos.dtype
    least = np.sqrt(np.finfo(dtype).tiny)
    floor = dtype.type(floor_for(dtype, max(2 - beta, 1.0)))
    kernel = _beta(SPECIAL.get(beta, GENERAL))
    with flat(pos) as p, flat(neg) as n:
        return float(kernel(frozen(x, dtype).reshape(-1), p, n, float(beta), floor, least, 1 / least))


@per_constant
def _beta(kind: int) -> Any:
    """The loop over runs for one kind of β: y becomes ŷ^(β−1)."""

    @compiled
    def split(x: Any, y: Any, neg: Any, beta: Any, floor: Any, least: Any, most: Any) -> Any:
        total, wide = 0.0, np.float64(least)
        for lo in range(0, len(x), RUN):
            # Slices count from 0: an index that might be negative would keep the loop from being vectorised.
            v, t, n = x[lo : lo + RUN], y[lo : lo + RUN], neg[lo : lo + RUN]
            if not _plain(v, t, beta > 0, floor, least, most):
                total += _beta_exact(v, t, n, beta, floor)
                continue
            part = y.dtype.type(0)
            for j in range(len(v)):
                if kind == 0:
                    t[j], n[j], term = _itakura_saito(v[j], t[j])
                elif kind == 1:
                    t[j], n[j], term = _half(v[j], t[j])
                elif kind == 2:
                    t[j], n[j], term = _three_halves(v[j], t[j])
                elif kind == 3:
                    t[j], n[j], term = _minus_one(v[j], t[j])
                elif kind == 4:
                    t[j], n[j], term = _three(v[j], t[j])
                else:
                    t[j], n[j], term = _general(v[j], t[j], beta, wide)
                part += term
            total += part
        return total

    return split


@reducing
def _plain(x: Any, y: Any, zero: Any, floor: Any, least: Any, most: Any) -> Any:
    """Whether all ŷ, and all x but zeros where d(0, ŷ) is finite, are so far from the ends that x/ŷ is normal."""
    plain = np.int32(0)
    for j in range(len(x)):
        known = (x[j] >= least) | (zero & (x[j] == 0))
        plain += np.int32((y[j] >= floor) & (y[j] >= least) & (y[j] <= most) & known & (x[j] <= y[j] * most))
    return plain == len(x)


@inlined
def _beta_exact(x: Any, y: Any, neg: Any, beta: Any, floor: Any) -> Any:
    total = 0.0
    for j in range(len(x)):
        total += _beta_term(np.float64(x[j]), np.float64(y[j]), beta)
        kept = np.float64(max(y[j], floor))
        y[j] = kept ** (beta - 1)
        neg[j] = x[j] * kept ** (beta - 2)
    return total


@inlined
def _beta_term(x: Any, y: Any, beta: Any) -> Any:
    if x == 0 and y == 0:
        return 0.0
    if (y == 0 and beta < 1) or (x == 0 and beta <= 0):  # where the parts below are infinite both ways
        return np.inf
    if beta == 0:
        return x / y - (np.log(x) - np.log(y)) - 1
    scale = max(x, y)  # d(s x, s ŷ) = s^β d(x, ŷ)
    x, y = x / scale, y / scale
    term = (x**beta + y ** (beta - 1) * ((beta - 1) * y - beta * x)) / (beta * (beta - 1))
    return scale**beta * term if term != 0 else 0.0


# The terms below are d_β with its double zero at x = ŷ split off, which nothing then cancels against.


@inlined
def _itakura_saito(x: Any, y: Any) -> Any:
    inverse = type(y)(1) / y
    ratio = x * inverse
    return inverse, ratio * inverse, (ratio - type(y)(1)) - log(ratio)


@inlined
def _half(x: Any, y: Any) -> Any:
    """2 (√ŷ − √x)² / √ŷ."""
    root = np.sqrt(y)
    inverse, gap = type(y)(1) / root, root - np.sqrt(x)
    return inverse, x * inverse * inverse * inverse, type(y)(2) * gap * gap * inverse


@inlined
def _three_halves(x: Any, y: Any) -> Any:
    """⅔ (√ŷ − √x)² (√ŷ + 2 √x)."""
    root, other = np.sqrt(y), np.sqrt(x)
    gap = root - other
    return root, x / root, type(y)(2 / 3) * gap * gap * (root + (other + other))


@inlined
def _minus_one(x: Any, y: Any) -> Any:
    """½ (1 − x/ŷ)² / x."""
    inverse = type(y)(1) / y
    ratio = x * inverse
    gap = type(y)(1) - ratio
    return inverse * inverse, ratio * inverse * inverse, type(y)(0.5) * gap * gap / x


@inlined
def _three(x: Any, y: Any) -> Any:
    """(ŷ − x)² (2 ŷ + x) / 6."""
    gap = y - x
    return y * y, x * y, type(y)(1 / 6) * gap * gap * (y + y + x)


@inlined
def _general(x: Any, y: Any, beta: Any, least: Any) -> Any:
    v, kept = np.float64(x), np.float64(y)
    pos = power(kept, beta - 1)
    data = power(max(v, least), beta)
    data = data if v > 0 else 0.0
    return pos, v * pos / kept, (data + pos * ((beta - 1) * kept - beta * v)) / (beta * (beta - 1))
