"""Sparse matrices in HDF5: a group of the datasets `data`, `indices` and `indptr`, as AnnData and 10x write them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from nmfkit.blocks import CSR
from nmfkit.errors import SourceError
from nmfkit.sources import tiles
from nmfkit.sources.checks import block_dtype, matrix_shape
from nmfkit.sources.csr_parts import (
    STRETCH,
    Stretch,
    canonical,
    check_indices,
    check_length,
    check_stretches,
    index_dtype,
)
from nmfkit_plugins.files.hdf5_names import Names, named
from nmfkit_plugins.files.hdf5_read import opened, read_range


@dataclass(frozen=True)
class HDF5CSR:
    """The group `name`, a CSR matrix (m, n), of the file at `uri`, opened for each read.

    `indptr` is checked once, where the matrix is opened; nothing in memory is of the length of its rows. `rows` and
    `features` name the names.
    """

    uri: str
    name: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    nnz: int
    rows: str | None = None
    features: str | None = None
    zeros: bool = False

    is_sparse = True
    resident = False

    @classmethod
    def open(cls, path: str, group: Any, shape: Sequence[int], rows: str | None, features: str | None) -> HDF5CSR:
        """A source of an open group of the file at `path`; raises `SourceError` where its parts make no CSR matrix."""
        where = f"{path}: {group.name}"
        parts = {part: group.get(part) for part in ("data", "indices", "indptr")}
        for part, dataset in parts.items():
            if dataset is None or len(getattr(dataset, "shape", ())) != 1:
                raise SourceError(f"{where}: a sparse matrix needs the 1-D dataset {part!r}")
        m, n = matrix_shape(shape, where)
        dtype = block_dtype(parts["data"].dtype, None, where)
        stored = min(parts[part].shape[0] for part in ("data", "indices"))
        try:
            check_length(parts["indptr"].shape, m)
            nnz = check_stretches(_stretches(parts["indptr"], where), stored)
        except ValueError as error:
            raise SourceError(f"{where}: {error}") from None
        return cls(path, group.name, (m, n), dtype, nnz, rows, features)

    @cached_property
    def row_names(self) -> Names:
        """Names of the rows (m,), read as they are asked for."""
        return named(self.uri, self.rows, self.shape[0])

    @cached_property
    def feature_names(self) -> Names:
        """Names of the columns (n,), read as they are asked for."""
        return named(self.uri, self.features, self.shape[1])

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Row ranges of about `target_bytes`, by the entries they hold."""
        entry = self.dtype.itemsize + np.dtype(index_dtype(self.shape[1])).itemsize
        with opened(self.uri) as file:
            return tiles.by_stretches(_stretches(file[self.name]["indptr"], self.uri), entry, target_bytes)

    def read(self, lo: int, hi: int) -> CSR:
        """Rows `lo` … `hi` in canonical form; raises `SourceError` naming those that cannot be read."""
        where = f"{self.uri}: {self.name}: rows {lo} … {hi - 1}"
        with opened(self.uri) as file:
            group = file[self.name]
            indptr = np.empty(hi + 1 - lo, np.int64)
            read_range(group["indptr"], lo, hi + 1, indptr, where, "offsets")
            a, b = int(indptr[0]), int(indptr[-1])
            data, indices = np.empty(b - a, self.dtype), np.empty(b - a, group["indices"].dtype)
            read_range(group["data"], a, b, data, where, "entries")
            read_range(group["indices"], a, b, indices, where, "column indices")
        try:
            check_indices(indices, self.shape[1])
        except ValueError as error:
            raise SourceError(f"{where} are damaged: {error}") from None
        integers = index_dtype(b - a, self.shape[1])
        indptr -= a
        indices, indptr = indices.astype(integers, copy=False), indptr.astype(integers)
        parts = canonical(data, indices, indptr, self.shape[1], zeros=self.zeros)
        return CSR(*parts, self.shape[1], lo)

    def with_zeros(self) -> HDF5CSR:
        """The same with the zeros that are stored."""
        return replace(self, zeros=True)

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


def _stretches(indptr: Any, where: str) -> Iterator[Stretch]:
    """All values in order, a stretch at a time."""
    for first in range(0, indptr.shape[0], STRETCH):
        values = np.empty(min(STRETCH, indptr.shape[0] - first), np.int64)
        read_range(indptr, first, first + len(values), values, where, "offsets")
        yield first, values
