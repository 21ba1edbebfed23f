"""Compiled kernels for host arrays (numba, cached on disk, without the interpreter lock)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[Any]


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"}, error_model="numpy")
def _sampled_product(u: Array, columns: Array, indices: Array, indptr: Array, out: Array) -> None:
    k = u.shape[1]
    for i in range(len(indptr) - 1):
        for p in range(indptr[i], indptr[i + 1]):
            j = indices[p]
            total = u[i, 0] * columns[j, 0]
            for c in range(1, k):
                total += u[i, c] * columns[j, c]
            out[p] = total


def sampled_product(u: Array, v: Array, indices: Array, indptr: Array) -> Array:
    """Σ_k u[row, k] v[k, column] at each stored entry, one row of `u` kept hot at a time."""
    out = np.empty(len(indices), dtype=np.result_type(u, v))
    # Rows of vᵀ are contiguous, so the inner loop is a dot product of two short runs.
    _sampled_product(np.ascontiguousarray(u), np.ascontiguousarray(v.T), indices, indptr, out)
    return out
