"""MATLAB files of version 7.3, which are HDF5: what MATLAB writes by columns is the transpose by rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmfkit.errors import SourceError
from nmfkit_plugins.files.hdf5_read import opened

CLASS, ROWS, EMPTY = "MATLAB_class", "MATLAB_sparse", "MATLAB_empty"
"""Attributes that MATLAB writes: the class of a variable, the number of rows of a sparse one, whether it is empty."""


def variables(path: str) -> list[tuple[str, tuple[int, ...], str]]:
    """Name, shape in MATLAB's order and class of each variable."""
    with opened(path) as file:
        try:
            return [(name, _shape(node), _kind(node)) for name, node in file.items() if not name.startswith("#")]
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise SourceError(f"{path} is no readable MATLAB file: {error}") from error


def load(path: str, name: str) -> Any:
    """The variable `name`, whole: an array in MATLAB's order, or a sparse matrix."""
    with opened(path) as file:
        try:
            node = file[name]
            return _sparse(path, node) if hasattr(node, "keys") else _dense(path, node)
        except (OSError, RuntimeError, KeyError, ValueError, IndexError) as error:
            raise SourceError(f"{path}: the variable {name!r} cannot be read: {error}") from error


def _dense(path: str, node: Any) -> Any:
    # Deflate makes a byte of a thousand at most, so that more is a promise that the file cannot keep.
    if node.size * node.dtype.itemsize > 2**24 + 1100 * node.id.get_storage_size():
        raise SourceError(f"{path}: {node.name} promises {node.size:,} numbers, and the file holds none of most")
    return node[()].T


def _sparse(path: str, node: Any) -> Any:
    from scipy.sparse import csc_array

    m, n = _shape(node)
    if "data" not in node:  # MATLAB leaves it out where there are no entries
        return csc_array((m, n))
    indptr, indices, values = (_dense(path, node[part]) for part in ("jc", "ir", "data"))
    return csc_array((values, indices.astype(np.int64), indptr.astype(np.int64)), shape=(m, n))


def _shape(node: Any) -> tuple[int, ...]:
    if hasattr(node, "keys"):
        columns = node["jc"].shape[0] - 1 if "jc" in node else 0
        return int(node.attrs.get(ROWS, 0)), columns
    return (0, 0) if node.attrs.get(EMPTY, 0) else tuple(int(s) for s in node.shape[::-1])


def _kind(node: Any) -> str:
    """MATLAB's name of the class; `sparse` for a sparse matrix, and NumPy's for what other programs wrote."""
    if hasattr(node, "keys"):
        return "sparse" if ROWS in node.attrs else "struct"
    stored = node.attrs.get(CLASS)
    if isinstance(stored, bytes):
        return str(stored.decode("latin-1"))
    kind = np.dtype(node.dtype)
    return {"float64": "double", "float32": "single", "bool": "logical"}.get(str(kind.name), str(kind.name))
