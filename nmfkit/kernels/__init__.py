"""The table of numeric kernels: plain functions, each with a NumPy reference and a fast version.

| name | result |
|---|---|
| `sampled_product(u, v, indices, indptr)` | (u v) at a CSR pattern, (nnz,) |
| `csr_dot(values, indices, indptr, n, b)` | x b, (rows, r) |
| `csr_tdot(values, indices, indptr, n, b)` | xᵀ b, (n, r) |
| `csr_dense(values, indices, indptr, n)` | x, (rows, n) |

The reference (`reference.py`) runs on any array that NumPy's dispatch reaches. Host arrays take SciPy's
compiled products, and `sampled_product` a numba loop once the work outweighs compiling it: which one
depends on sizes alone, so a fit repeats bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.kernels import reference

Array = npt.NDArray[Any]

JIT_WORK = 2**22
"""Multiplications in one call above which a compiled loop pays for its compilation (about a second)."""


def _on_host(*arrays: Array) -> bool:
    return all(type(a) is np.ndarray for a in arrays)


def sampled_product(u: Array, v: Array, indices: Array, indptr: Array) -> Array:
    """(u v) at the entries of a CSR pattern: `u` (rows, k), `v` (k, n) -> (nnz,)."""
    if _on_host(u, v, indices, indptr) and len(indices) * u.shape[1] >= JIT_WORK:
        from nmfkit.kernels import cpu

        return cpu.sampled_product(u, v, indices, indptr)
    return reference.sampled_product(u, v, indices, indptr)


def csr_dot(values: Array, indices: Array, indptr: Array, n: int, b: Array) -> Array:
    """x b for CSR x (rows, n), `b` (n, r) -> (rows, r)."""
    if _on_host(values, b):
        return np.asarray(_scipy(values, indices, indptr, n) @ np.ascontiguousarray(b))
    return reference.csr_dot(values, indices, indptr, n, b)


def csr_tdot(values: Array, indices: Array, indptr: Array, n: int, b: Array) -> Array:
    """xᵀ b for CSR x (rows, n), `b` (rows, r) -> (n, r)."""
    if _on_host(values, b):
        return np.asarray(_scipy(values, indices, indptr, n).T @ np.ascontiguousarray(b))
    return reference.csr_tdot(values, indices, indptr, n, b)


def csr_dense(values: Array, indices: Array, indptr: Array, n: int) -> Array:
    """Every entry of CSR x, (rows, n)."""
    if _on_host(values):
        return np.asarray(_scipy(values, indices, indptr, n).toarray())
    return reference.csr_dense(values, indices, indptr, n)


def _scipy(values: Array, indices: Array, indptr: Array, n: int) -> Any:
    from scipy.sparse import csr_array

    return csr_array((values, indices, indptr), shape=(len(indptr) - 1, n), copy=False)
