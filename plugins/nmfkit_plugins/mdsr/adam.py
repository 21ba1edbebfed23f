"""Adam on a dict of weights, with ε outside the bias correction, and a projection."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from nmfkit.blocks import Array

DECAYS = (0.9, 0.999)
"""β₁ and β₂: how much of the running means of gradients and of their squares is kept."""

CHUNK = 2**15
"""Entries that a step takes at a time: what is made of them stays in a cache."""


_Now: TypeAlias = tuple[Array, Array, Array, Array]
"""Weights, gradient, mean and square."""

_Factors: TypeAlias = tuple[float, float, float]
"""α, ε, and what the gradient is multiplied with."""

_Moved: TypeAlias = tuple[Array, Array, Array]


def at_rest(net: Mapping[str, Array]) -> dict[str, Any]:
    """The state before the first step: "mean" and "square" as `net`, all zero, and "count" 0."""
    zeros = [{name: np.zeros_like(weights) for name, weights in net.items()} for _ in range(2)]
    return {"mean": zeros[0], "square": zeros[1], "count": 0}


def stepped(
    net: Mapping[str, Array],
    gradient: Mapping[str, Array],
    adam: Mapping[str, Any],
    rate: float,
    tiny: float,
    *,
    nonnegative: Collection[str],
    per: float = 1.0,
    units: Mapping[str, float] = MappingProxyType({}),
    paces: Mapping[str, float] = MappingProxyType({}),
) -> tuple[dict[str, Array], dict[str, Any]]:
    """`net` after a step down `gradient` / `per`, and the state that follows; what is given stays as it is.

    m += (1 − β₁)(g − m), v += (1 − β₂)(g² − v), θ −= α m / (√v + `tiny`) with α = `rate` √(1 − β₂ᵗ) / (1 − β₁ᵗ):
    Kingma & Ba, ICLR 2015, the form before their section 2.1. The weights of the names `nonnegative` are then
    projected, θ ← max(θ, 0), and their moments are not. `units` are what weights of some names are measured in: a step
    is then that of θ / unit, whose gradient is g · unit. `paces` are factors of the rate for some names. Every result
    has the dtype of its weights; names that only `gradient` has are left out.
    """
    count = adam["count"] + 1
    alpha = float(rate) * math.sqrt(1 - DECAYS[1] ** count) / (1 - DECAYS[0] ** count)
    made = {
        name: _moved(
            (weights, gradient[name], adam["mean"][name], adam["square"][name]),
            (alpha * units.get(name, 1.0) * paces.get(name, 1.0), float(tiny), units.get(name, 1.0) / per),
            name in nonnegative,
        )
        for name, weights in net.items()
    }
    moved, mean, square = ({name: part[k] for name, part in made.items()} for k in range(3))
    return moved, {"mean": mean, "square": square, "count": count}


def _moved(now: _Now, factors: _Factors, floor: bool) -> _Moved:
    """Weights, mean and square after a step."""
    weights = now[0]
    made = (np.empty_like(weights), np.empty_like(weights), np.empty_like(weights))
    if weights.size <= CHUNK:
        _write(made, now, factors, floor)
        return made
    rows = max(1, CHUNK // (weights.size // len(weights)))
    for lo in range(0, len(weights), rows):
        at = slice(lo, lo + rows)
        views = (made[0][at], made[1][at], made[2][at])
        _write(views, (now[0][at], now[1][at], now[2][at], now[3][at]), factors, floor)
    return made


def _write(made: _Moved, now: _Now, factors: _Factors, floor: bool) -> None:
    """The step, into `made`."""
    (moved, m, v), (weights, gradient, mean, square), (alpha, tiny, scale) = made, now, factors
    # In this order: sums may be beyond the range of the weights.
    g = (gradient * scale).astype(weights.dtype, copy=False)
    np.subtract(g, mean, out=m)
    m *= 1 - DECAYS[0]
    m += mean
    g *= g
    np.subtract(g, square, out=v)
    v *= 1 - DECAYS[1]
    v += square
    np.sqrt(v, out=moved)
    moved += tiny
    np.divide(m, moved, out=moved)
    moved *= -alpha
    moved += weights
    if floor:
        np.maximum(moved, 0, out=moved)
