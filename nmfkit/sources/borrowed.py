"""Matrices that live in other libraries' objects: AnnData, dask arrays."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nmfkit.blocks import Dense
from nmfkit.errors import DataError, NmfkitError, SourceError, UsageError
from nmfkit.sources import tiles
from nmfkit.sources.array import ArraySource, SparseSource
from nmfkit.sources.checks import block_dtype, matrix_shape

if TYPE_CHECKING:
    from nmfkit.protocols import Source

LAYERS = "layers/"
RAW = ("raw", "raw/X")
"""How the matrix of `.raw` is asked for."""


def open_anndata(x: Any, *, key: str | None = None, dtype: Any = None) -> Source:
    """The matrix `X` of an AnnData object, the layer `key`, or `raw/X`, with the names of `obs` and `var`.

    What a backed object keeps in its file is read from there by row blocks, with the names in the file.
    """
    layer = key.removeprefix(LAYERS) if key is not None else None
    if key is not None and layer not in x.layers and key in RAW and x.raw is not None:
        matrix, features = x.raw.X, x.raw.var_names
    elif key is not None and layer not in x.layers:
        raise UsageError(f"the AnnData object has no layer {key!r}; layers: {', '.join(x.layers) or 'none'}")
    else:
        matrix, features = x.X if layer is None else x.layers[layer], x.var_names
    if x.isbacked and (key is None or matrix is None or _is_on_disk(matrix)):
        return _open_backed(x, key, dtype)
    if matrix is None:
        raise DataError(f"the AnnData object has no X; name a layer with key=…: {', '.join(x.layers) or 'none'}")
    kind = SparseSource if hasattr(matrix, "tocsr") else ArraySource
    rows, columns = tuple(map(str, x.obs_names)), tuple(map(str, features))
    return kind(matrix, dtype=dtype, row_names=rows, feature_names=columns)


def _open_backed(x: Any, key: str | None, dtype: Any) -> Source:
    if x.is_view:
        raise UsageError(
            f"a view of an AnnData object that is backed by {x.filename}: pass its .to_memory(), or write it with "
            "its write_h5ad and pass that path"
        )
    from nmfkit.sources.files import open_path

    return open_path(str(x.filename), key=key, dtype=dtype)


def _is_on_disk(matrix: Any) -> bool:
    return type(matrix).__module__.partition(".")[0] in ("h5py", "anndata")


@dataclass(frozen=True)
class DaskSource:
    """A dask array (m, n) of dense blocks, computed a row block at a time, as often as it is read.

    Where a client of dask's own scheduler is this process's default, its workers compute the block, for they hold
    what was persisted; elsewhere the thread that reads does.
    """

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
        """A source of an array whose shape is known and whose blocks are NumPy's."""
        if np.isnan(array.shape).any():
            raise DataError("the dask array does not know its shape; call compute_chunk_sizes() on it first")
        # An array made from another library's blocks knows them by an empty one of their kind.
        _refuse_blocks(getattr(array, "_meta", None))
        return cls(array, matrix_shape(array.shape, cls.uri), block_dtype(array.dtype, dtype, cls.uri))

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Row ranges of about `target_bytes` each."""
        return tiles.by_bytes(self.shape, self.dtype.itemsize, target_bytes)

    def read(self, lo: int, hi: int) -> Dense:
        """Rows `lo` … `hi`, computed now; raises `SourceError` naming those that cannot be."""
        try:
            with _scheduler() as scheduler:
                values = self.array[lo:hi].compute(scheduler=scheduler)
        except (NmfkitError, MemoryError):
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise SourceError(f"rows {lo} … {hi - 1} of the dask array cannot be computed: {reason}") from error
        _refuse_blocks(values)
        return Dense(ArraySource(values, dtype=self.dtype).read(0, hi - lo).values, lo)


def _refuse_blocks(block: Any) -> None:
    """Raise `DataError` for blocks that are no NumPy arrays: sparse ones would have to become dense without a word."""
    if block is None or isinstance(block, np.ndarray):
        return
    dense = "toarray" if hasattr(block, "toarray") else "todense"
    way_out = (
        f"map_blocks(lambda b: b.{dense}()) makes them dense; to keep them sparse, pass a SciPy matrix or a zarr store"
        if hasattr(block, dense)
        else "map_blocks with a function that makes NumPy arrays of them"
    )
    raise DataError(f"the dask array holds {type(block).__name__} blocks; nmfkit reads those of NumPy: {way_out}")


def _scheduler() -> AbstractContextManager[Any]:
    """What computes a block: the default client, or that of the worker that runs this; else this thread."""
    distributed: Any = sys.modules.get("distributed")  # never imported for this: without it there is no client
    if distributed is None:
        return nullcontext("synchronous")
    try:
        distributed.get_worker()
    except ValueError:
        try:
            return nullcontext(distributed.default_client())
        except ValueError:
            return nullcontext("synchronous")
    # The task steps aside meanwhile, or blocks could wait for the thread that waits for them.
    client: AbstractContextManager[Any] = distributed.worker_client()
    return client
