"""Sparse matrices in zarr, in AnnData's layout: arrays `data`, `indices`, `indptr`, attribute `shape`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from nmfkit.blocks import CSR
from nmfkit.errors import SourceError
from nmfkit.sources import names, tiles
from nmfkit.sources.checks import block_dtype, matrix_shape
from nmfkit.sources.csr_parts import canonical, check_indices, check_indptr, index_dtype
from nmfkit.sources.zarr_read import read_rows
from nmfkit.sources.zarr_store import Place

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ZarrCSR:
    """A CSR group (m, n); `indptr` stays in memory, 8 bytes a row; workers reopen it from its place."""

    place: Place
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    root: Place | None = None

    is_sparse = True
    resident = False

    @classmethod
    def open(
        cls, group: zarr.Group, place: Place, root: Place | None = None, dtype: Any = None, *, turned: bool = False
    ) -> ZarrCSR:
        """A source of an open group at `place`; raises `SourceError` where its parts do not make a CSR matrix.

        `turned` reads a CSC group as what it is as well: the CSR of the transpose.
        """
        parts = {name: group.get(name) for name in ("data", "indices", "indptr")}
        for name, part in parts.items():
            if not isinstance(part, zarr.Array) or part.ndim != 1:
                raise SourceError(f"{place}: a CSR group needs the 1-D array {name!r}")
        stored: Any = group.attrs.get("shape")
        if not isinstance(stored, list | tuple):
            raise SourceError(f"{place}: a CSR group needs the attribute 'shape'")
        shape = matrix_shape(stored[::-1] if turned else stored, str(place))
        source = cls(place, shape, block_dtype(parts["data"].dtype, dtype, str(place)), root)  # type: ignore[union-attr]
        _ = source._indptr  # a damaged pattern is told now, not in the middle of a fit
        return source

    @property
    def uri(self) -> str:
        """The store and the path inside."""
        return str(self.place)

    @property
    def nnz(self) -> int:
        """Stored entries."""
        return int(self._indptr[-1])

    @cached_property
    def row_names(self) -> names.Names:
        """Names of the rows (m,), read when first asked for."""
        return names.row_names(self.root.open(), self.shape[0]) if self.root else None

    @cached_property
    def feature_names(self) -> names.Names:
        """Names of the columns (n,), read when first asked for."""
        return names.feature_names(self.root.open(), self.shape[1]) if self.root else None

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Row ranges of about `target_bytes`, by the entries they hold."""
        entry = self.dtype.itemsize + np.dtype(index_dtype(self.shape[1])).itemsize
        return tiles.by_entries(self._indptr, entry, target_bytes)

    def read(self, lo: int, hi: int) -> CSR:
        """Rows `lo` … `hi` in canonical form; raises `SourceError` naming those that cannot be read."""
        a, b = int(self._indptr[lo]), int(self._indptr[hi])
        where = f"{self.uri}: rows {lo} … {hi - 1}"
        integers = index_dtype(b - a, self.shape[1])
        data = np.empty(b - a, self.dtype)
        indices = np.empty(b - a, self._indices.dtype)
        read_rows(self._data, a, b, data, where, "entries")
        read_rows(self._indices, a, b, indices, where, "column indices")
        try:
            check_indices(indices, self.shape[1])
        except ValueError as error:
            raise SourceError(f"{where} are damaged: {error}") from None
        indptr = (self._indptr[lo : hi + 1] - a).astype(integers)
        parts = canonical(data, indices.astype(integers, copy=False), indptr, self.shape[1])
        return CSR(*parts, self.shape[1], lo)

    @cached_property
    def _data(self) -> zarr.Array[Any]:
        return self.place.child("data").open_array()

    @cached_property
    def _indices(self) -> zarr.Array[Any]:
        return self.place.child("indices").open_array()

    @cached_property
    def _indptr(self) -> Array:
        stored = self.place.child("indptr").open_array()
        indptr = np.empty(stored.shape, stored.dtype)
        read_rows(stored, 0, len(indptr), indptr, f"{self.uri}/indptr", "entries")
        try:
            return check_indptr(indptr, self.shape[0], min(self._data.shape[0], self._indices.shape[0]))
        except ValueError as error:
            raise SourceError(f"{self.uri}: {error}") from None

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}
