"""Sparse Kullback–Leibler on a GPU: coordinate steps in the rows of w."""

from __future__ import annotations

import numpy as np

from nmfkit.kernels.cuda import Array, c_type, ready
from nmfkit.kernels.cuda.pattern import warps
from nmfkit.kernels.cuda.sparse import sampled_product
from nmfkit.kernels.floors import floor_for
from nmfkit.kernels.gpu import Launch

FEW = 64
"""Threads of a block: rows differ in length, and a block lasts as long as its longest."""


def scd_rows(
    launch: Launch,
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
    dtype, (rows, r) = np.result_type(values, w, h), w.shape
    new = w.astype(dtype, order="C", copy=True)
    least = float(floor_for(dtype, 1.0))
    fitted = sampled_product(launch, new, h, indices, indptr).astype(dtype, copy=False)
    np.maximum(fitted, least, out=fitted)
    data = ready(values, dtype), ready(indices), ready(indptr, np.int64), rows, ready(h.T, dtype), r
    steps = ready(sums, np.float64), int(inner), float(l1), float(l2), float(floor), least
    names = c_type(dtype), c_type(indices.dtype)
    launch("coordinates", "steps", warps(rows), FEW, *data, *steps, new, fitted, REAL=names[0], INDEX=names[1])
    return new
