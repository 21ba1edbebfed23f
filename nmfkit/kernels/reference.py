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
    columns = np.ascontiguousarray(v.T, like=v)
    pieces = [
        np.einsum("ij,ij->i", u[rows[a : a + step]], columns[indices[a : a + step]])
        for a in range(0, max(1, len(indices)), step)
    ]
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def csr_dot(values: Array, indices: Array, indptr: Array, n: int, b: Array) -> Array:
    """out[row] += value b[column]."""
    del n
    return _summed(row_of_entry(indptr), values[:, None] * b[indices], len(indptr) - 1)


def csr_tdot(values: Array, indices: Array, indptr: Array, n: int, b: Array) -> Array:
    """out[column] += value b[row]."""
    return _summed(indices, values[:, None] * b[row_of_entry(indptr)], n)


def csr_dense(values: Array, indices: Array, indptr: Array, n: int) -> Array:
    """out[row, column] += value."""
    rows = len(indptr) - 1
    place = row_of_entry(indptr).astype(np.int64) * n + indices
    return _summed(place, values[:, None], rows * n).reshape(rows, n)


def _summed(place: Array, terms: Array, size: int) -> Array:
    """The rows of `terms` (nnz, r) added up by their place: (size, r), summed in float64."""
    # np.add.at would be the plain way, but no ufunc method is dispatched to CuPy.
    columns = [np.bincount(place, weights=terms[:, k], minlength=size) for k in range(terms.shape[1])]
    return np.stack(columns, axis=1).astype(terms.dtype)
