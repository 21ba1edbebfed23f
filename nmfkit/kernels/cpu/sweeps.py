"""Sweeps of hierarchical alternating least squares: SIMD over rows, whose columns lie in a buffer in the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.kernels.cpu.compiling import compiled, inlined, reducing
from nmfkit.kernels.cpu.layout import frozen

Array = npt.NDArray[Any]

BLOCK = 128
"""Rows at a time: what is left of their targets stays in the fastest cache, their columns in the second."""
STEP = 4
"""Columns that are subtracted at a time: their sum is stored once."""


def hals(f: Array, q: Array, c: Array, inner: int) -> Array:
    """`inner` sweeps over the columns of `f` (rows, r) for Gram `q` (r, r) and `c` (rows, r) or (1, r)."""
    dtype = np.result_type(f, c)
    rank = f.shape[1]
    gram = np.zeros((rank, -(-rank // STEP) * STEP), dtype)
    gram[:, :rank] = q
    new = np.array(f, dtype, order="C")
    c = np.broadcast_to(c, f.shape)
    turned = c.T.flags.c_contiguous and not c.flags.c_contiguous
    tiny = np.finfo(dtype).tiny
    _sweeps(new, frozen(gram), frozen(c.T if turned else c, dtype), inner, turned, tiny)
    return new


@compiled
def _sweeps(f: Any, q: Any, c: Any, inner: Any, turned: Any, tiny: Any) -> Any:
    rank = f.shape[1]
    columns, targets = np.zeros((q.shape[1], BLOCK), f.dtype), np.zeros((rank, BLOCK), f.dtype)
    rest = np.empty(BLOCK, f.dtype)
    for lo in range(0, len(f), BLOCK):
        rows = f[lo : lo + BLOCK]
        _turn(rows, columns)
        if turned:
            _copy(c[:, lo : lo + BLOCK], targets)
        else:
            _turn(c[lo : lo + BLOCK], targets)
        for _ in range(inner):
            for k in range(rank):
                if q[k, k] >= tiny:
                    _residual(q[k], columns, targets[k], rest)
                    _descend(columns[k], rest, q[k, k])
                else:
                    _without_curvature(columns[k], targets[k])
        _turn(columns[:rank, : len(rows)], rows)


@inlined
def _turn(a: Any, out: Any) -> None:
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[j, i] = a[i, j]


@inlined
def _copy(a: Any, out: Any) -> None:
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[i, j] = a[i, j]


@reducing
def _residual(weights: Any, columns: Any, target: Any, rest: Any) -> None:
    """rest = c_k − F q_k."""
    for i in range(BLOCK):
        rest[i] = target[i]
    for d in range(len(weights) // STEP):
        q0, q1, q2, q3 = weights[4 * d], weights[4 * d + 1], weights[4 * d + 2], weights[4 * d + 3]
        a, b, c, e = columns[4 * d], columns[4 * d + 1], columns[4 * d + 2], columns[4 * d + 3]
        for i in range(BLOCK):
            rest[i] -= (q0 * a[i] + q1 * b[i]) + (q2 * c[i] + q3 * e[i])


@reducing
def _descend(column: Any, rest: Any, curvature: Any) -> None:
    for i in range(BLOCK):
        column[i] = max(column[i] + rest[i] / curvature, column.dtype.type(0))


@inlined
def _without_curvature(column: Any, target: Any) -> None:
    """The other factor's column is zero, so only a linear penalty is left, which zero minimises."""
    for i in range(BLOCK):
        if target[i] < 0:
            column[i] = 0
