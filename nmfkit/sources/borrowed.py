"""Matrices that live in other libraries' objects: AnnData in memory, dask arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nmfkit.blocks import Dense
from nmfkit.errors import DataError, UsageError
from nmfkit.sources import tiles
from nmfkit.sources.array import ArraySource, SparseSource
from nmfkit.sources.checks import block_dtype, matrix_shape

if TYPE_CHECKING:
    from nmfkit.protocols import Source


def open_anndata(x: Any, *, key: str | None = None, dtype: Any = None) -> Source:
    """The matrix `X` of an AnnData object in memory, or the layer `key`, with the names of `obs` and `var`."""
    if x.isbacked:
        raise UsageError("an AnnData object backed by a file: write it with its write_zarr, and pass that path")
    if key is not None and key not in x.layers:
        raise UsageError(f"the AnnData object has no layer {key!r}; layers: {', '.join(x.layers) or 'none'}")
    matrix = x.X if key is None else x.layers[key]
    if matrix is None:
        raise DataError(f"the AnnData object has no X; name a layer with key=…: {', '.join(x.layers) or 'none'}")
    kind = SparseSource if hasattr(matrix, "tocsr") else ArraySource
    rows, features = tuple(map(str, x.obs_names)), tuple(map(str, x.var_names))
    return kind(matrix, dtype=dtype, row_names=rows, feature_names=features)


@dataclass(frozen=True)
class DaskSource:
    """A dask array (m, n) of dense blocks, computed a row block at a time, as often as it is read."""

    array: Any
    shape: tuple[int, int]
    dtype: Any

    uri = "memory"
    is_sparse = False
    resident = False
    nnz = None
    row_names = None
    feature_names = None

    @classmethod
    def open(cls, array: Any, dtype: Any = None) -> DaskSource:
        """A source of an array whose shape is known."""
        if np.isnan(array.shape).any():
            raise DataError("the dask array does not know its shape; call compute_chunk_sizes() on it first")
        return cls(array, matrix_shape(array.shape, cls.uri), block_dtype(array.dtype, dtype, cls.uri))

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Row ranges of about `target_bytes` each."""
        return tiles.by_bytes(self.shape, self.dtype.itemsize, target_bytes)

    def read(self, lo: int, hi: int) -> Dense:
        """Rows `lo` … `hi`, computed now on this thread."""
        values = self.array[lo:hi].compute(scheduler="synchronous")
        if not isinstance(values, np.ndarray):
            raise DataError(f"the dask array holds {type(values).__name__} blocks; nmfkit reads those of NumPy")
        return Dense(ArraySource(values, dtype=self.dtype).read(0, hi - lo).values, lo)
