"""Sparse data: the Kullback–Leibler divergence and both pulled-back halves in one pass over the stored entries."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.kernels.cpu.compiling import compiled, per_constant
from nmfkit.kernels.cpu.dense import kl_run
from nmfkit.kernels.cpu.layout import frozen, padded
from nmfkit.kernels.cpu.sparse import RUN, add_to_columns, gather_sums, places, row_products, row_sums, starts
from nmfkit.kernels.floors import floor_for

Array = npt.NDArray[Any]


def kl_rows(
    values: Array, indices: Array, indptr: Array, w: Array, h: Array, left: bool, right: bool
) -> tuple[float, Array | None, Array | None]:
    """Σ x ln(x/ŷ) − x, R hᵀ (rows, r) if `left`, Rᵀ w (n, r) if `right`: R = x/ŷ at the stored entries."""
    dtype = np.result_type(values, w, h)
    info, floor = np.finfo(dtype), dtype.type(floor_for(dtype, 1.0))
    wide, columns, rank = padded(w, dtype), padded(h.T, dtype), w.shape[1]
    a = np.empty((len(w) if left else 0, rank), dtype)
    g = np.empty((h.shape[1] if right else 0, rank), dtype)
    data = frozen(values, dtype), places(indices), starts(indptr)
    value = _rows(wide.shape[1])(*data, wide, columns, a, g, left, right, floor, info.max / 64, info.tiny)
    return float(value), a if left else None, g if right else None


@per_constant
def _rows(rank: int) -> Any:
    @compiled
    def rows(
        values: Any,
        indices: Any,
        indptr: Any,
        w: Any,
        columns: Any,
        a: Any,
        g: Any,
        left: Any,
        right: Any,
        floor: Any,
        most: Any,
        tiny: Any,
    ) -> Any:
        n, value = len(g), 0.0
        ratio, part, total = np.empty(RUN, w.dtype), np.empty(rank, w.dtype), np.empty(rank, np.float64)
        sums, wide, terms = np.zeros((n, rank), w.dtype), np.zeros((n, rank), np.float64), np.zeros(n, np.int32)
        for i in range(len(indptr) - 1):
            total[:] = 0
            for lo in range(indptr[i], indptr[i + 1], RUN):
                hi = min(lo + RUN, indptr[i + 1])
                js, r = indices[lo:hi], ratio[: hi - lo]
                row_products(rank, w[i], columns, js, r)
                value += kl_run(values[lo:hi], r, floor, most, tiny)
                if left:
                    row_sums(rank, r, columns, js, part)
                    for k in range(rank):
                        total[k] += part[k]
                if right:
                    add_to_columns(rank, r, w[i], js, sums, wide, terms)
            if left:
                for k in range(a.shape[1]):
                    a[i, k] = total[k]
        gather_sums(sums, wide, g)
        return value

    return rows
