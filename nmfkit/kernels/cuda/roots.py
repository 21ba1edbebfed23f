"""Roots of surrogates on a GPU, in one pass; coefficients of one row, column or number are never spread out."""

from __future__ import annotations

import math

import numpy as np

from nmfkit.kernels.cuda import BLOCK, Array, c_type, ready, strided
from nmfkit.kernels.gpu import Launch
from nmfkit.kernels.roots import NEGLIGIBLE, ceiling_of


def power_root(launch: Launch, high: Array, low: Array, high_power: float, low_power: float, reach: float) -> Array:
    """The t with high t^(p−1) + low t^(q−1) = 0, p > q, at most e^reach."""
    spacing, usual = high_power - low_power, low_power < 1 < high_power
    return _launched(launch, "power_root", (high, low), int(usual), *_bounds(high, low, spacing=spacing, reach=reach))


def quadratic_root(launch: Launch, a: Array, b: Array, c: Array, spacing: float, reach: float) -> Array:
    """The t with a s² + b s + c = 0, s = t^spacing, at most e^reach."""
    return _launched(launch, "quadratic_root", (a, b, c), *_bounds(a, b, c, spacing=spacing, reach=reach))


def tied_root(launch: Launch, weight: Array, slope: Array, pull: Array, reach: float) -> Array:
    """The t with slope − pull/t + weight ln t = 0, at most e^reach."""
    return _launched(launch, "tied_root", (weight, slope, pull), float(reach), math.exp(reach), NEGLIGIBLE)


def _bounds(*coefficients: Array, spacing: float, reach: float) -> tuple[float, float, float, float]:
    dtype = np.result_type(*coefficients)
    return float(spacing), ceiling_of(dtype, spacing, reach), math.exp(reach), float(np.finfo(dtype).tiny)


def _launched(launch: Launch, kernel: str, coefficients: tuple[Array, ...], *numbers: float) -> Array:
    shape, dtype = np.broadcast_shapes(*(c.shape for c in coefficients)), np.result_type(*coefficients)
    columns = shape[-1] if shape else 1
    t = np.empty_like(coefficients[0], shape=shape, dtype=dtype, order="C")
    strides = [stride for c in coefficients for stride in _strides(c.shape)]
    data = *(ready(c, dtype) for c in coefficients), t, t.size, columns, *strides
    launch("roots", kernel, strided(t.size), BLOCK, *data, *numbers, REAL=c_type(dtype))
    return t


def _strides(shape: tuple[int, ...]) -> tuple[int, int]:
    """How far apart the entries of rows and of columns lie: 0 where there is only one."""
    rows, columns = (1, 1, *shape)[-2:]
    return columns if rows > 1 else 0, int(columns > 1)
