"""The three arrays of a CSR matrix, checked and in canonical form."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def index_dtype(*largest: int) -> type[np.signedinteger[Any]]:
    """int32 where it holds every number in `largest`, else int64."""
    return np.int32 if max(largest) <= np.iinfo(np.int32).max else np.int64


def check_indptr(indptr: Array, rows: int, entries: int) -> Array:
    """`indptr` as int64 (rows + 1,); raises `ValueError` where it cannot index `entries` entries."""
    if indptr.ndim != 1 or len(indptr) != rows + 1:
        raise ValueError(f"indptr has shape {indptr.shape}, {rows} rows need ({rows + 1},)")
    indptr = indptr.astype(np.int64, copy=False)
    if indptr[0] != 0:
        raise ValueError(f"indptr starts at {indptr[0]}, not at 0")
    falls = np.flatnonzero(indptr[1:] < indptr[:-1])
    if falls.size:
        raise ValueError(f"indptr decreases at row {falls[0]}")
    if indptr[-1] > entries:
        raise ValueError(f"indptr ends at {indptr[-1]}, but only {entries} entries are stored")
    return indptr


def check_indices(indices: Array, n: int) -> None:
    """Raise `ValueError` unless every index is a column of `n`."""
    if indices.dtype.kind not in "iu":
        raise ValueError(f"indices are {indices.dtype}, not integers")
    if indices.size and (indices.min() < 0 or indices.max() >= n):
        bad = indices[(indices < 0) | (indices >= n)][0]
        raise ValueError(f"column index {bad} is outside the {n} columns")


def canonical(data: Array, indices: Array, indptr: Array, n: int) -> tuple[Array, Array, Array]:
    """Sorted indices, duplicates summed, explicit zeros dropped; changes nothing that it was given."""
    from scipy.sparse import csr_array

    matrix = csr_array((data, indices, indptr), shape=(len(indptr) - 1, n), copy=False)
    tidy = matrix.has_canonical_format
    if tidy and np.count_nonzero(data) == len(data):
        return data, indices, indptr
    # A copy: the arrays may be the user's own. The flag is computed anew, for users may have set it wrongly.
    matrix = csr_array((data, indices, indptr), shape=matrix.shape, copy=True)
    if not tidy:
        matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix.data, matrix.indices, matrix.indptr
