"""Coordinate descent for ½ ‖A − h hᵀ‖² on a GPU: the loops of `nmfkit.kernels.symmetric` in one warp."""

from __future__ import annotations

import numpy as np

from nmfkit.kernels.cuda import WARP, Array, c_type, ready
from nmfkit.kernels.gpu import Launch


def symmetric_cd(launch: Launch, values: Array, indices: Array, indptr: Array, h: Array, inner: int) -> Array:
    """`inner` sweeps over the entries of `h` (n, r), in its dtype; computed in float64."""
    n, r = h.shape
    wide = h.astype(np.float64, order="C", copy=True)
    gram = ready(wide.T @ wide)
    data = ready(values), ready(indices), ready(indptr, np.int64), n, r, int(inner)
    names = c_type(values.dtype), c_type(indices.dtype)
    launch("symmetric", "sweeps", WARP, WARP, *data, wide, gram, np.zeros_like(gram[0]), REAL=names[0], INDEX=names[1])
    return wide.astype(h.dtype, copy=False)
