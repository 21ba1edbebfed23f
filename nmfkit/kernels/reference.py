"""What each kernel means, in NumPy alone, for any array that NumPy's dispatch reaches."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

GATHER = 2**20
"""Entries of the gathered temporaries that `sampled_product` makes at a time."""


def row_of_entry(indptr: Array) -> Array:
    """The row of each stored entry, (nnz,)."""
    rows = np.arange(len(indptr) - 1, like=indptr)
    return np.repeat(rows, np.diff(indptr))


def sampled_product(u: Array, v: Array, indices: Array, indptr: Array) -> Array:
    """Σ_k u[row, k] v[k, column] at each stored entry; never an nnz × k temporary of the whole block."""
    rows, step = row_of_entry(indptr), max(1, GATHER // max(1, u.shape[1]))
    columns = np.ascontiguousarray(v.T)
    pieces = [
        np.einsum("ij,ij->i", u[rows[a : a + step]], columns[indices[a : a + step]])
        for a in range(0, max(1, len(indices)), step)
    ]
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def csr_dot(values: Array, indices: Array, indptr: Array, n: int, b: Array) -> Array:
    """out[row] += value b[column]."""
    del n
    out = np.zeros_like(b, shape=(len(indptr) - 1, b.shape[1]))
    np.add.at(out, row_of_entry(indptr), values[:, None] * b[indices])
    return out


def csr_tdot(values: Array, indices: Array, indptr: Array, n: int, b: Array) -> Array:
    """out[column] += value b[row]."""
    out = np.zeros_like(b, shape=(n, b.shape[1]))
    np.add.at(out, indices, values[:, None] * b[row_of_entry(indptr)])
    return out


def csr_dense(values: Array, indices: Array, indptr: Array, n: int) -> Array:
    """out[row, column] += value."""
    out = np.zeros_like(values, shape=(len(indptr) - 1, n))
    np.add.at(out, (row_of_entry(indptr), indices), values)
    return out
