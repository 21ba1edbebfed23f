"""Block principal pivoting on a GPU: a warp a row, its Cholesky factor in shared memory."""

from __future__ import annotations

import numpy as np

from nmfkit.kernels.cuda import WARP, Array, ready
from nmfkit.kernels.gpu import Launch
from nmfkit.kernels.pivoting import PATIENCE, SLACK

SHARED = 64 * 1024
"""Bytes of the largest factor in shared memory, which every GPU has: those of capability 7.5 have no more for a block.

Larger ones lie in memory, for fewer blocks.
"""
BLOCKS, FEW_BLOCKS = 2**16, 1024


def pivot(launch: Launch, q: Array, c: Array, x: Array, most: int) -> Array:
    """Each row of `x` from its start to the minimiser, in place; which have got there in `most` exchanges."""
    (rows, rank), own = x.shape, ready(x, np.float64)
    ended = np.ones_like(x, shape=(rows,), dtype=bool)
    triangle, vectors = 8 * (rank * (rank + 1) // 2), rank * (3 * 8 + 3 * 4)
    fits = triangle + vectors <= SHARED
    blocks = min(rows, BLOCKS if fits else FEW_BLOCKS)
    spare = None if fits else np.empty_like(own, shape=(blocks, triangle // 8), order="C")
    data = ready(q, np.float64), ready(c, np.float64), own, ended, spare, rows, rank, most, SLACK, PATIENCE
    if own.size:
        launch("solve", "pivot", blocks * WARP, WARP, *data, shared=vectors + fits * triangle)
    if own is not x:
        x[...] = own
    return ended
