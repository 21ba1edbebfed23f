"""Sparse matrices in zarr, in AnnData's layout: arrays `data`, `indices`, `indptr`, attribute `shape`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from nmfkit.blocks import CSR
from nmfkit.errors import SourceError
from nmfkit.sources import names, tiles
from nmfkit.sources.about import About
from nmfkit.sources.checks import block_dtype, matrix_shape
from nmfkit.sources.csr_parts import canonical, check_indices, check_length, check_stretches, index_dtype
from nmfkit.sources.zarr_about import stored_about
from nmfkit.sources.zarr_indptr import StoredIndptr
from nmfkit.sources.zarr_read import read_rows
from nmfkit.sources.zarr_store import Place


@dataclass(frozen=True)
class ZarrCSR:
    """A CSR group (m, n) of `nnz` stored entries; nothing in memory is of the length of its rows.

    `indptr` is checked once, where the group is opened; workers reopen it from its place and read what they need.
    """

    place: Place
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    nnz: int
    root: Place | None = None
    zeros: bool = False

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
        held = block_dtype(parts["data"].dtype, dtype, str(place))  # type: ignore[union-attr]
        stored_entries = min(parts[name].shape[0] for name in ("data", "indices"))  # type: ignore[union-attr]
        return cls(place, shape, held, _checked(place, shape[0], stored_entries), root)

    @property
    def uri(self) -> str:
        """The store and the path inside."""
        return str(self.place)

    @cached_property
    def row_names(self) -> names.Names:
        """Names of the rows (m,), read as they are asked for."""
        return names.row_names(self.root, self.shape[0]) if self.root else None

    @cached_property
    def feature_names(self) -> names.Names:
        """Names of the columns (n,), read as they are asked for."""
        return names.feature_names(self.root, self.shape[1]) if self.root else None

    @cached_property
    def about(self) -> About | None:
        """What rows and features are, as `convert` stored it."""
        return stored_about(self.root, self.shape) if self.root else None

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Row ranges of about `target_bytes`, by the entries they hold."""
        entry = self.dtype.itemsize + np.dtype(index_dtype(self.shape[1])).itemsize
        return tiles.by_stretches(self._indptr.stretches(), entry, target_bytes)

    def entries_before(self, rows: Iterable[int]) -> list[int]:
        """Entries stored before each of `rows`: more than blocks hold where some are zeros or duplicates."""
        return [int(self._indptr.read(row, row + 1)[0]) for row in rows]

    def read(self, lo: int, hi: int) -> CSR:
        """Rows `lo` … `hi` in canonical form; raises `SourceError` naming those that cannot be read."""
        where = f"{self.uri}: rows {lo} … {hi - 1}"
        indptr = self._pattern(lo, hi, where)
        a, b = int(indptr[0]), int(indptr[-1])
        integers = index_dtype(b - a, self.shape[1])
        data = np.empty(b - a, self.dtype)
        indices = np.empty(b - a, self._indices.dtype)
        read_rows(self._data, a, b, data, where, "entries")
        read_rows(self._indices, a, b, indices, where, "column indices")
        try:
            check_indices(indices, self.shape[1])
        except ValueError as error:
            raise SourceError(f"{where} are damaged: {error}") from None
        indptr -= a
        indices, indptr = indices.astype(integers, copy=False), indptr.astype(integers)
        parts = canonical(data, indices, indptr, self.shape[1], zeros=self.zeros)
        return CSR(*parts, self.shape[1], lo)

    def with_zeros(self) -> ZarrCSR:
        """The same with the zeros that are stored."""
        return replace(self, zeros=True)

    def _pattern(self, lo: int, hi: int, where: str) -> npt.NDArray[Any]:
        """`indptr` of the rows (hi − lo + 1,), which may have changed since it was checked as a whole."""
        indptr = self._indptr.read(lo, hi + 1)
        try:
            check_stretches([(lo, indptr)], self.nnz)
        except ValueError as error:
            raise SourceError(f"{where} are damaged: {error}") from None
        return indptr

    @cached_property
    def _data(self) -> zarr.Array[Any]:
        return self.place.child("data").open_array()

    @cached_property
    def _indices(self) -> zarr.Array[Any]:
        return self.place.child("indices").open_array()

    @cached_property
    def _indptr(self) -> StoredIndptr:
        return StoredIndptr(self.place.child("indptr"))

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


def _checked(place: Place, rows: int, stored: int) -> int:
    """The number of entries that `indptr` counts; a damaged pattern is told now, not in the middle of a fit."""
    indptr = StoredIndptr(place.child("indptr"))
    try:
        check_length(indptr.shape, rows)
        return check_stretches(indptr.stretches(), stored)
    except ValueError as error:
        raise SourceError(f"{place}: {error}") from None
