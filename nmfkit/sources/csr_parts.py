"""The three arrays of a CSR matrix, checked and in canonical form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

Stretch: TypeAlias = tuple[int, Array]
"""Values of an `indptr` that follow each other, after the number of the first."""

STRETCH = 2**20
"""Values looked at together: few beside a matrix, many beside a call."""


def index_dtype(*largest: int) -> type[np.signedinteger[Any]]:
    """int32 where it holds every number in `largest`, else int64."""
    return np.int32 if max(largest) <= np.iinfo(np.int32).max else np.int64


def stretches(indptr: Array) -> Iterator[Stretch]:
    """An `indptr` in memory as views of it, one after another."""
    return ((first, indptr[first : first + STRETCH]) for first in range(0, len(indptr), STRETCH))


def check_indptr(indptr: Array, rows: int, entries: int) -> Array:
    """`indptr` as int64 (rows + 1,); raises `ValueError` where it cannot index `entries` entries."""
    check_length(indptr.shape, rows)
    check_stretches(stretches(indptr), entries)
    return indptr.astype(np.int64, copy=False)


def check_length(shape: tuple[int, ...], rows: int) -> None:
    """Raise `ValueError` unless an `indptr` of this shape has a value for each row and one more."""
    if shape != (rows + 1,):
        raise ValueError(f"indptr has shape {shape}, {rows} rows need ({rows + 1},)")


def check_stretches(indptr: Iterable[Stretch], entries: int) -> int:
    """The last value of an `indptr` in stretches; raises `ValueError` where it cannot index `entries` entries."""
    last = 0
    for first, stretch in indptr:
        values = stretch.astype(np.int64, copy=False)
        if first == 0 and values[0] != 0:
            raise ValueError(f"indptr starts at {values[0]}, not at 0")
        falls = np.flatnonzero(values < np.concatenate([[last], values[:-1]]))
        if falls.size:
            raise ValueError(f"indptr decreases at row {first + falls[0] - 1}")
        last = int(values[-1])
    if last > entries:
        raise ValueError(f"indptr ends at {last}, but only {entries} entries are stored")
    return last


def check_indices(indices: Array, n: int) -> None:
    """Raise `ValueError` unless every index is a column of `n`."""
    if indices.dtype.kind not in "iu":
        raise ValueError(f"indices are {indices.dtype}, not integers")
    if indices.size and (indices.min() < 0 or indices.max() >= n):
        bad = indices[(indices < 0) | (indices >= n)][0]
        raise ValueError(f"column index {bad} is outside the {n} columns")


def canonical(data: Array, indices: Array, indptr: Array, n: int, *, zeros: bool = False) -> tuple[Array, Array, Array]:
    """Sorted indices, duplicates summed, explicit zeros dropped unless `zeros`; changes nothing that it was given."""
    from scipy.sparse import csr_array

    matrix = csr_array((data, indices, indptr), shape=(len(indptr) - 1, n), copy=False)
    tidy = matrix.has_canonical_format
    if tidy and (zeros or np.count_nonzero(data) == len(data)):
        return data, indices, indptr
    # A copy: the arrays may be the user's own. The flag is computed anew, for users may have set it wrongly.
    matrix = csr_array((data, indices, indptr), shape=matrix.shape, copy=True)
    if not tidy:
        matrix.sum_duplicates()
    if not zeros:
        matrix.eliminate_zeros()
    return matrix.data, matrix.indices, matrix.indptr
