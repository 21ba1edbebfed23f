"""Sparse Kullback–Leibler: coordinate steps in the rows of w, with ŷ and 1/ŷ at a row's stored entries kept up."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.kernels.cpu.compiling import compiled, inlined, reducing
from nmfkit.kernels.cpu.layout import frozen
from nmfkit.kernels.cpu.sparse import places, starts
from nmfkit.kernels.floors import floor_for

Array = npt.NDArray[Any]

RUN = 512
"""Terms that are summed in the data's own precision."""


def scd_rows(
    values: Array,
    indices: Array,
    indptr: Array,
    w: Array,
    h: Array,
    sums: Array,
    inner: int,
    l1: float,
    l2: float,
    floor: float,
) -> Array:
    """`inner` sweeps of coordinate steps over the columns of `w` (rows, r), `h` (r, n) fixed with row `sums` (r,)."""
    dtype = np.result_type(values, w, h)
    new = np.array(w, dtype, order="C")
    data = frozen(values, dtype), places(indices), starts(indptr), frozen(h, dtype), frozen(sums, np.float64)
    least = dtype.type(floor_for(dtype, 1.0))
    _rows(*data, new, inner, float(l1), float(l2), float(floor), least)
    return new


@inlined
def coordinate_step(w: Any, linear: Any, first: Any, second: Any, l2: Any) -> Any:
    """The new w ≥ 0 for Σ −x ln(ŷ + (w′ − w) h) + linear w′ + ½ l2 w′², whose value it never raises.

    `first` = Σ x h/ŷ and `second` = Σ x (h/ŷ)². The derivative after a step t is linear + l2 (w + t) − S(t), with
    S(t) = Σ x a / (1 + t a) and a = h/ŷ between 0 and 1/w. As 1 / (1 + t a) is convex in a, S is at least its value
    at the mean of a (Jensen) and at most that of the masses at a = 0 and a = 1/w with that mean. A step up to the
    root with the lower bound, or down to the root with the upper one, stops short of the minimum or at it; both
    equal Newton's step to second order.
    """
    slope = linear + l2 * w - first
    if slope < 0:
        mean = second / first
        b = (linear + l2 * w) * mean + l2
        return w - 2 * slope / (b + np.sqrt(b * b - 4 * l2 * mean * slope))
    b = slope - l2 * w + w * second
    rest = b + np.sqrt(b * b + 4 * l2 * w * (w * second))
    return 2 * w * (w * second) / rest if rest > 0 else w


@reducing
def _gather(row: Any, js: Any, out: Any) -> None:
    """In a loop of its own: beside a load from anywhere no other loop can be vectorised."""
    for p in range(len(js)):
        out[p] = row[js[p]]


@reducing
def _slopes(x: Any, inverse: Any, gathered: Any) -> Any:
    """Σ x h/ŷ and Σ x (h/ŷ)² over a run of stored entries."""
    first, second = x.dtype.type(0), x.dtype.type(0)
    for p in range(len(x)):
        a = gathered[p] * inverse[p]
        first += x[p] * a
        second += x[p] * a * a
    return np.float64(first), np.float64(second)


@reducing
def _refit(fitted: Any, inverse: Any, gathered: Any, step: Any, new: Any, least: Any) -> None:
    """ŷ += step h, which cannot be less than the new w alone gives, and 1/ŷ."""
    for p in range(len(fitted)):
        fitted[p] = max(max(fitted[p] + step * gathered[p], new * gathered[p]), least)
        inverse[p] = fitted.dtype.type(1) / fitted[p]


@reducing
def _fit(w: Any, h: Any, js: Any, fitted: Any, inverse: Any, gathered: Any, least: Any) -> None:
    """ŷ and 1/ŷ at the stored entries of one row."""
    fitted[:] = 0
    for k in range(len(w)):
        weight = w[k]
        _gather(h[k], js, gathered)
        for p in range(len(js)):
            fitted[p] += weight * gathered[p]
    for p in range(len(js)):
        fitted[p] = max(fitted[p], least)
        inverse[p] = fitted.dtype.type(1) / fitted[p]


@compiled
def _rows(
    values: Any,
    indices: Any,
    indptr: Any,
    h: Any,
    sums: Any,
    w: Any,
    inner: Any,
    l1: Any,
    l2: Any,
    floor: Any,
    least: Any,
) -> None:
    longest = 1
    for i in range(len(w)):
        longest = max(longest, indptr[i + 1] - indptr[i])
    buffers = np.empty((3, longest), w.dtype)
    for i in range(len(w)):
        x, js = values[indptr[i] : indptr[i + 1]], indices[indptr[i] : indptr[i + 1]]
        n, own = len(x), w[i]
        fitted, inverse, gathered = buffers[0, :n], buffers[1, :n], buffers[2, :n]
        _fit(own, h, js, fitted, inverse, gathered, least)
        for _ in range(inner):
            for k in range(len(own)):
                first, second = 0.0, 0.0
                _gather(h[k], js, gathered)
                for lo in range(0, n, RUN):
                    hi = min(lo + RUN, n)
                    one, two = _slopes(x[lo:hi], inverse[lo:hi], gathered[lo:hi])
                    first, second = first + one, second + two
                before = own[k]
                own[k] = max(coordinate_step(np.float64(before), sums[k] + l1, first, second, l2), floor)
                if own[k] != before:
                    _refit(fitted, inverse, gathered, own[k] - before, own[k], least)
