"""Dense matrices in zarr, v2 and v3."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import zarr

from nmfkit.blocks import Dense
from nmfkit.sources import names, tiles
from nmfkit.sources.about import About
from nmfkit.sources.checks import block_dtype, matrix_shape
from nmfkit.sources.zarr_about import stored_about
from nmfkit.sources.zarr_read import read_rows
from nmfkit.sources.zarr_store import Place


@dataclass(frozen=True)
class ZarrDense:
    """A dense zarr array (m, n); workers reopen it from its place. `root` is the group with the names."""

    place: Place
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    chunks: tuple[int, int]
    root: Place | None = None

    is_sparse = False
    resident = False
    nnz = None

    @classmethod
    def open(cls, array: zarr.Array[Any], place: Place, root: Place | None = None, dtype: Any = None) -> ZarrDense:
        """A source of an open array, which lies at `place`."""
        shape = matrix_shape(array.shape, str(place))
        rows, columns = array.chunks
        return cls(place, shape, block_dtype(array.dtype, dtype, str(place)), (rows, columns), root)

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
        """Row ranges of about `target_bytes` that end where chunks do."""
        return tiles.by_chunks(self.shape, self.dtype.itemsize, self.chunks[0], target_bytes)

    def read(self, lo: int, hi: int) -> Dense:
        """Rows `lo` … `hi`; raises `SourceError` naming those that cannot be read."""
        values = np.empty((hi - lo, self.shape[1]), self.dtype)
        read_rows(self._array, lo, hi, values, self.uri)
        return Dense(values, lo)

    @cached_property
    def _array(self) -> zarr.Array[Any]:
        return self.place.open_array()

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}
