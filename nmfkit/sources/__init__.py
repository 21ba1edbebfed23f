"""Where matrices come from: `open_source` turns arrays, files, stores and URIs into one row-block interface.

| module | what |
|---|---|
| `array` | arrays and sparse matrices in memory, memory-mapped files |
| `zarr_dense`, `zarr_csr` | zarr stores of any origin, v2 and v3 |
| `zarr_open` | which matrix a zarr group holds |
| `remote` | stores at a URI, by fsspec or obstore |
| `files` | paths, handed to the readers that plugins offer |
| `borrowed` | AnnData objects, dask arrays |
| `convert` | any source → zarr that streams well |
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from nmfkit.errors import DataError, UsageError
from nmfkit.sources.array import ArraySource, SparseSource
from nmfkit.sources.cast import Cast
from nmfkit.sources.checks import forced_dtype
from nmfkit.sources.fingerprint import fingerprint

if TYPE_CHECKING:
    from nmfkit.protocols import Source

__all__ = ["ArraySource", "Cast", "SparseSource", "fingerprint", "open_source"]


def open_source(
    x: Any,
    *,
    key: str | None = None,
    dtype: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    missing: str = "none",
) -> Source:
    """Open `x` as a matrix (m, n) that is read by row blocks.

    `x` is an array, a SciPy sparse matrix, a zarr array or group, an AnnData object, a dask array, a path, a URI or
    a `Source`; `key` names the dataset inside a container. Blocks are float32 or float64: `dtype` chooses, else
    types that float32 holds exactly (bool, 8 and 16 bits) become float32 and all others float64. `storage_options`
    go to the library that opens a URI (credentials, an endpoint); they travel with the source and are never shown.
    With `missing="nan"`, cells of a file that stand for missing numbers are read as NaN where its reader knows any.
    A path may name its reader and that reader's options: `wav,frame=1024:song.wav`.
    Raises `SourceError` for what cannot be read, `DataError` for what is no numeric matrix, `UsageError` for unknown
    kinds of file.
    """
    forced = forced_dtype(dtype)
    if storage_options is not None and not isinstance(storage_options, Mapping):
        raise UsageError(f"storage_options is a {type(storage_options).__name__}; pass a dict such as {{'anon': True}}")
    options = storage_options or None
    if isinstance(x, str | PathLike):
        from nmfkit.sources.files import open_path

        given = {"missing": missing}
        return open_path(fspath(x), key=key, dtype=forced, storage_options=options, options=given)
    if options is not None:
        raise UsageError(f"storage_options are for stores opened by a URI such as s3://…; this is a {type(x).__name__}")
    library = type(x).__module__.partition(".")[0]
    if library == "anndata":
        from nmfkit.sources.borrowed import open_anndata

        return open_anndata(x, key=key, dtype=forced)
    if library == "zarr":
        from nmfkit.sources.zarr_open import open_node

        return open_node(x, key=key, dtype=forced)
    if key is not None:
        raise UsageError(f"key {key!r} names a dataset inside a file or store; a {type(x).__name__} has none")
    if library == "dask" and hasattr(x, "dask"):
        from nmfkit.sources.borrowed import DaskSource

        return DaskSource.open(x, forced)
    return wrap(x, uri="memory", dtype=forced)


def wrap(x: Any, *, uri: str, dtype: Any = None) -> Source:
    """A source of `x`, which is one already or is a matrix in memory; `uri` is where it came from."""
    import numpy as np

    if is_source(x):
        return x if dtype is None or x.dtype == dtype else Cast(x, dtype)
    if isinstance(x, np.ndarray):
        return ArraySource(x, uri=uri, dtype=dtype)
    if hasattr(x, "tocsr") and hasattr(x, "nnz"):
        return SparseSource(x, uri=uri, dtype=dtype)
    way_out = "its .to_numpy()" if hasattr(x, "to_numpy") else "np.asarray(x, dtype=float)"
    raise DataError(
        f"{uri}: a {type(x).__name__} is no matrix that can be read; pass {way_out}, or a 2-D NumPy array, a SciPy "
        "sparse matrix, a zarr array or group, a path or a URI"
    )


def is_source(x: Any) -> bool:
    """Whether `x` already offers the `Source` interface."""
    return all(hasattr(x, name) for name in ("uri", "shape", "dtype", "is_sparse", "nnz", "bounds", "read"))
