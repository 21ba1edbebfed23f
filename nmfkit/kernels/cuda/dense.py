"""Dense data on a GPU: losses with their halves, totals and folded scores, each entry read once or twice."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from nmfkit.kernels.cuda import BLOCK, WARP, Array, c_type, ready, strided, summed
from nmfkit.kernels.floors import floor_for
from nmfkit.kernels.gpu import Launch

SPECIAL = {0.0: "itakura_saito", 0.5: "half", 1.5: "three_halves", -1.0: "minus_one", 3.0: "three"}
"""β whose powers are products, quotients and square roots, and the name of their formulas."""
COLUMN_THREADS = 2**17
"""Threads that sum columns at a time, roughly."""


def kl_split(launch: Launch, x: Array, y: Array) -> float:
    """Σ x ln(x/ŷ) − x, with x/ŷ in the place of ŷ: `x`, `y` of one shape."""
    threads = strided(y.size)
    parts = _parts(y, threads)
    with written(y) as ratio:
        data = ready(x, y.dtype), ratio, parts, y.size, floor_for(y.dtype, 1.0)
        launch("dense", "kl_split", threads, BLOCK, *data, REAL=c_type(y.dtype))
    return summed(parts)


def beta_split(launch: Launch, x: Array, y: Array, beta: float, pos: Array, neg: Array) -> float:
    """Σ d_β(x, ŷ), ŷ^(β−1) in `pos` (which may be `y`) and x ŷ^(β−2) in `neg`: all of one shape, β ∉ {1, 2}."""
    dtype, threads = pos.dtype, strided(pos.size)
    parts = _parts(pos, threads)
    least = math.sqrt(float(np.finfo(dtype).tiny))
    numbers = pos.size, float(beta), floor_for(dtype, max(2.0 - beta, 1.0)), least
    with written(pos) as p, written(neg, dtype) as n:
        fit = p if pos is y else ready(y, dtype)
        kernel = f"beta_{SPECIAL.get(beta, 'general')}"
        launch("dense", kernel, threads, BLOCK, ready(x, dtype), fit, p, n, parts, *numbers, REAL=c_type(dtype))
    return summed(parts)


def totals(launch: Launch, x: Array) -> tuple[Array, Array, float, int, float, float]:
    """Row sums, column sums, Σ x², number of entries other than 0, smallest and largest entry, in float64."""
    (rows, n), x = x.shape, ready(x, None if x.dtype.kind == "f" else np.float64)
    real = c_type(x.dtype)
    sums, squares, low, high = (np.empty_like(x, shape=(rows,), dtype=np.float64) for _ in range(4))
    counts = np.empty_like(x, shape=(rows,), dtype=np.int64)
    by_row = x, sums, squares, counts, low, high, rows, n
    launch("dense", "row_totals", strided(rows * WARP), BLOCK, *by_row, REAL=real)
    columns = _column_sums(launch, x, real)
    return sums, columns, float(np.sum(squares)), int(np.sum(counts)), float(np.min(low)), float(np.max(high))


def _column_sums(launch: Launch, x: Array, real: str) -> Array:
    rows, n = x.shape
    chunks = max(1, min(rows, COLUMN_THREADS // n))
    parts = np.empty_like(x, shape=(chunks, n), dtype=np.float64, order="C")
    launch("dense", "column_totals", strided(chunks * n), BLOCK, x, parts, rows, n, chunks, REAL=real)
    sums: Array = np.sum(parts, axis=0)
    return sums


def folded_scores(launch: Launch, x: Array, mean: Array, inverse: Array, clip: float, y: Array) -> None:
    """`y` (rows, 2n) becomes [max(z, 0), max(−z, 0)] of z = (x − mean) inverse, at most `clip`."""
    (rows, n), dtype = x.shape, x.dtype
    numbers = ready(x), ready(mean, dtype), ready(inverse, dtype)
    with written(y) as scores:
        data = *numbers, scores, rows, n, float(clip)
        launch("dense", "folded_scores", strided(rows * WARP), BLOCK, *data, REAL=c_type(dtype))


@contextmanager
def written(a: Array, dtype: Any = None) -> Iterator[Array]:
    """The entries of `a`, contiguous and of the dtype, to be written to: `a` itself, or a copy that is copied back."""
    own = ready(a, dtype)
    yield own
    if own is not a:
        a[...] = own


def _parts(a: Array, threads: int) -> Array:
    """Room for what each block adds up."""
    return np.empty_like(a, shape=(threads // BLOCK,), dtype=np.float64)
