"""Sweeps of hierarchical alternating least squares on a GPU: a thread a row, whose columns lie in shared memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmfkit.kernels.cuda import WARP, Array, c_type, ready
from nmfkit.kernels.gpu import Launch

STEP = 8
"""Columns that the source sweeps at a time."""
THREADS = (64, 32)
"""Rows of a tile; fewer where the tile would be too large."""
SHARED = 64 * 1024
"""Bytes of the largest tile in shared memory, which every GPU has: those of capability 7.5 have no more for a block.

Larger ones lie in memory, for fewer blocks.
"""
FEW_BLOCKS = 256


def hals(launch: Launch, f: Array, q: Array, c: Array, inner: int) -> Array:
    """`inner` sweeps over the columns of `f` (rows, r) for Gram `q` (r, r) and `c` (rows, r) or (1, r)."""
    dtype, (rows, rank) = np.result_type(f, c), f.shape
    new = f.astype(dtype, order="C", copy=True)
    padded = -(-rank // STEP) * STEP
    gram = np.zeros_like(q, shape=(rank, padded), dtype=dtype, order="C")
    gram[:, :rank] = q.T
    per_block, shared = _tile(rank, dtype)
    threads, spare = rows, None
    if not shared:
        threads = min(rows, FEW_BLOCKS * per_block)
        spare = np.empty_like(new, shape=(-(-threads // per_block), rank * (per_block + 1)), order="C")
    sizes = rows, rank, padded, rank if len(c) == rows else 0, inner, float(np.finfo(dtype).tiny)
    data = new, gram, ready(c, dtype), spare
    if new.size:
        launch("sweeps", "hals", threads, per_block, *data, *sizes, shared=shared, REAL=c_type(dtype))
    return new


def _tile(rank: int, dtype: np.dtype[Any]) -> tuple[int, int]:
    """Rows of a tile and its bytes of shared memory, 0 where it finds no room there."""
    for threads in THREADS:
        if (size := rank * (threads + 1) * dtype.itemsize) <= SHARED:
            return threads, size
    return WARP, 0
