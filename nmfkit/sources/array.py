"""Matrices in memory: NumPy arrays, memory-mapped or not, and SciPy sparse matrices."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.blocks import CSR, Dense
from nmfkit.errors import DataError
from nmfkit.sources import mapped, tiles
from nmfkit.sources.about import About, fitting
from nmfkit.sources.checks import block_dtype, in_range, matrix_shape, unmasked
from nmfkit.sources.csr_parts import canonical, check_indices, check_indptr, index_dtype

Array = npt.NDArray[Any]
Names = Sequence[str] | None


class ArraySource:
    """A dense matrix (m, n) in memory or memory-mapped; blocks are views where dtype and order allow.

    A block of a memory-mapped file is a copy, and its pages are let go: memory holds what was asked for and
    no more. A mapped array is pickled as its file name.
    """

    is_sparse = False
    nnz = None

    def __init__(
        self,
        array: Array,
        *,
        uri: str = "memory",
        dtype: Any = None,
        row_names: Names = None,
        feature_names: Names = None,
        about: About | None = None,
    ) -> None:
        self.shape = matrix_shape(array.shape, uri)
        self.dtype = block_dtype(array.dtype, dtype, uri)
        self.uri, self.row_names, self.feature_names = uri, row_names, feature_names
        self.about = fitting(about, self.shape, uri)
        self._array = unmasked(array, uri)

    @property
    def resident(self) -> bool:
        """Whether blocks are views: in memory, of the right dtype and order."""
        return self._mapping is None and self._array.dtype == self.dtype and self._array.flags.c_contiguous

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Row ranges of about `target_bytes` each."""
        return tiles.by_bytes(self.shape, self.dtype.itemsize, target_bytes)

    def read(self, lo: int, hi: int) -> Dense:
        """Rows `lo` … `hi`, C-contiguous."""
        rows = self._array[lo:hi]
        with in_range(rows, self.dtype, self.uri):
            if self._mapping is None:
                return Dense(np.asarray(rows, dtype=self.dtype, order="C", copy=None).view(np.ndarray), lo)
            values = np.array(rows, dtype=self.dtype, order="C", subok=False)
        mapped.release(self._mapping)
        return Dense(values, lo)

    def turned(self) -> ArraySource:
        """The transpose, a view."""
        return ArraySource(
            self._array.T,
            uri=self.uri,
            dtype=self.dtype,
            row_names=self.feature_names,
            feature_names=self.row_names,
            about=self.about and self.about.turned(),
        )

    @cached_property
    def _mapping(self) -> Any:
        return mapped.mapping(self._array)

    def __getstate__(self) -> dict[str, Any]:
        state = {k: v for k, v in self.__dict__.items() if k != "_mapping"}
        return state | {"_array": mapped.portable(self._array)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        array = state["_array"]
        self.__dict__.update(state, _array=array.open() if isinstance(array, mapped.Mapped) else array)


class SparseSource:
    """A sparse matrix (m, n) in memory as canonical CSR; any SciPy format, which is left as it was."""

    is_sparse = True
    resident = True
    _known: tuple[Array, Array, Array] | None = None
    """Data, indices and indptr with stored zeros, where there are any."""

    def __init__(
        self,
        matrix: Any,
        *,
        uri: str = "memory",
        dtype: Any = None,
        row_names: Names = None,
        feature_names: Names = None,
        about: About | None = None,
    ) -> None:
        self.shape = m, n = matrix_shape(matrix.shape, uri)
        self.dtype = block_dtype(matrix.dtype, dtype, uri)
        self.uri, self.row_names, self.feature_names = uri, row_names, feature_names
        self.about = fitting(about, self.shape, uri)
        csr = _as_csr(matrix, self.dtype, uri)
        try:
            indptr = check_indptr(np.asarray(csr.indptr), m, min(len(csr.data), len(csr.indices)))
            used = int(indptr[-1])
            check_indices(csr.indices[:used], n)
        except ValueError as error:
            raise DataError(f"{uri}: not a valid sparse matrix: {error}") from None
        # Cast before duplicates are summed: small integers would overflow.
        with in_range(csr.data[:used], self.dtype, uri):
            data = csr.data[:used].astype(self.dtype, copy=False)
        known = canonical(data, csr.indices[:used], indptr, n, zeros=True)
        self._hold(*known)
        if np.count_nonzero(known[0]) < len(known[0]):
            self._known = known
            self._hold(*canonical(*known, n))

    def _hold(self, data: Array, indices: Array, indptr: Array) -> None:
        self._data, self._indptr = data, indptr.astype(np.int64, copy=False)
        self._indices = indices.astype(index_dtype(self.shape[1]), copy=False)

    def turned(self) -> SparseSource:
        """The transpose, a copy."""
        return _turned(self)

    def with_zeros(self) -> SparseSource:
        """The same with the zeros that the matrix stores."""
        if self._known is None:
            return self
        whole = copy(self)
        whole._hold(*self._known)
        return whole

    @property
    def nnz(self) -> int:
        """Stored entries, none of them zero."""
        return len(self._data)

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Row ranges of about `target_bytes` each, by the entries they hold."""
        return tiles.by_entries(self._indptr, self.dtype.itemsize + self._indices.itemsize, target_bytes)

    def read(self, lo: int, hi: int) -> CSR:
        """Rows `lo` … `hi`; values and indices are views."""
        a, b = int(self._indptr[lo]), int(self._indptr[hi])
        # One integer type in both index arrays, or SciPy copies one of them in every product.
        indptr = (self._indptr[lo : hi + 1] - a).astype(index_dtype(b - a, self.shape[1]))
        indices = self._indices[a:b].astype(indptr.dtype, copy=False)
        return CSR(self._data[a:b], indices, indptr, self.shape[1], lo)


def _turned(source: SparseSource) -> SparseSource:
    from scipy.sparse import csr_array

    data, indices, indptr = source._known or (source._data, source._indices, source._indptr)
    return SparseSource(
        csr_array((data, indices, indptr), shape=source.shape).T,
        uri=source.uri,
        dtype=source.dtype,
        row_names=source.feature_names,
        feature_names=source.row_names,
        about=source.about and source.about.turned(),
    )


def _as_csr(matrix: Any, dtype: Any, uri: str) -> Any:
    """`matrix` in compressed rows, without summing in a narrow integer type on the way."""
    if matrix.format == "csr":
        return matrix
    if matrix.format in ("lil", "dok"):
        matrix = matrix.tocoo()
    if hasattr(matrix, "check_format"):
        try:  # SciPy turns columns into rows unseen: a false index would be written wherever it points
            # What ends in 0 holds nothing to SciPy's check, whatever stands before.
            check_indptr(np.asarray(matrix.indptr), len(matrix.indptr) - 1, min(len(matrix.data), len(matrix.indices)))
            matrix.check_format(full_check=True)
        except ValueError as error:
            raise DataError(f"{uri}: not a valid sparse matrix: {error}") from None
    with in_range(matrix.data, dtype, uri):
        return matrix.astype(dtype).tocsr()
