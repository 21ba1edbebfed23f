"""The weights that a training begins with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nmfkit.blocks import Array

WITHIN = 0.87962566
"""The standard deviation of a standard normal number that lies between −2 and 2."""

TAG = 8
"""Sets these draws apart from others of the same seed."""


def glorot(fan_in: int, fan_out: int, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Normal numbers of standard deviation s = √(2 / (`fan_in` + `fan_out`)), none beyond ±2 s / 0.8796, in float64.

    Glorot & Bengio, AISTATS 2010; cut off at twice the standard deviation of what is drawn, which makes up for the cut.
    """
    drawn = rng.standard_normal(shape)
    while bool((far := np.abs(drawn) > 2).any()):
        drawn[far] = rng.standard_normal(int(np.count_nonzero(far)))
    drawn *= math.sqrt(2 / (fan_in + fan_out)) / WITHIN
    return drawn


def begun(columns: int, sizes: Sequence[int], seed: int, dtype: Any, unit: float = 1.0) -> dict[str, Array]:
    """Weights of a network for N = `columns`: "u" (N, R), "v2" (r_1, r_2), …, and "h" (r, N), of either sign.

    U_i and V_i are drawn as one array of N + r_{i−1} rows, for a unit of layer i reads as many numbers. They are
    for data in units of `unit`. The same for every layout of the data, and for both dtypes but for rounding.
    """
    us, net, before = [], {}, 0
    for i, size in enumerate(sizes, 1):
        drawn = glorot(columns + before, size, (columns + before, size), _rng(seed, i)).astype(dtype)
        us.append(drawn[:columns] / drawn.dtype.type(unit))
        if before:
            net[f"v{i}"] = np.ascontiguousarray(drawn[columns:])
        before = size
    h = glorot(before, columns, (before, columns), _rng(seed, 0)) * unit
    return {"u": np.concatenate(us, axis=1), **net, "h": h.astype(dtype)}


def scaled(h: Array, mean_y: Array, mean_w: Array) -> Array:
    """H (r, N) of the sizes of `h` in each column, scaled so that W H is `mean_y` (N,) on average.

    H_kj = |G_kj| ȳ_j / Σ_k' w̄_k' |G_k'j| with G = `h` and w̄ = `mean_w` (r,): positive where ȳ_j is, and 0 where that is
    0. Without it W H begins near r / 2 times the mean entry of H, far above the data where r is large: Adam then drives
    W to 0, and the loss stays at the mean square of the data.
    """
    sizes = np.abs(h.astype(np.float64))
    over = np.sum(mean_w[:, None] * sizes, axis=0)
    factors = np.where(over > 0, mean_y / np.where(over > 0, over, 1.0), 0.0)
    return (sizes * factors).astype(h.dtype)


def _rng(seed: int, which: int) -> np.random.Generator:
    return np.random.default_rng([seed, TAG, which])
