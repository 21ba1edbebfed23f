"""Dense matrices in HDF5."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from nmfkit.blocks import Dense
from nmfkit.sources import tiles
from nmfkit.sources.checks import block_dtype, matrix_shape
from nmfkit_plugins.files.hdf5_names import Names, named
from nmfkit_plugins.files.hdf5_read import opened, read_range


@dataclass(frozen=True)
class HDF5Dense:
    """The dataset `name` (m, n) of the file at `uri`, opened for each read; `rows` and `features` name the names."""

    uri: str
    name: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    chunk_rows: int
    rows: str | None = None
    features: str | None = None

    is_sparse = False
    resident = False
    nnz = None

    @classmethod
    def open(cls, path: str, dataset: Any, rows: str | None, features: str | None) -> HDF5Dense:
        """A source of an open dataset of the file at `path`."""
        where = f"{path}: {dataset.name}"
        chunk_rows = int(dataset.chunks[0]) if dataset.chunks else 1
        shape = matrix_shape(dataset.shape, where)
        return cls(path, dataset.name, shape, block_dtype(dataset.dtype, None, where), chunk_rows, rows, features)

    @cached_property
    def row_names(self) -> Names:
        """Names of the rows (m,), read as they are asked for."""
        return named(self.uri, self.rows, self.shape[0])

    @cached_property
    def feature_names(self) -> Names:
        """Names of the columns (n,), read as they are asked for."""
        return named(self.uri, self.features, self.shape[1])

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Row ranges of about `target_bytes` that end where chunks do."""
        return tiles.by_chunks(self.shape, self.dtype.itemsize, self.chunk_rows, target_bytes)

    def read(self, lo: int, hi: int) -> Dense:
        """Rows `lo` … `hi`; raises `SourceError` naming those that cannot be read."""
        values = np.empty((hi - lo, self.shape[1]), self.dtype)
        with opened(self.uri) as file:
            read_range(file[self.name], lo, hi, values, f"{self.uri}: {self.name}")
        return Dense(values, lo)

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}
