"""`.h5ad` of AnnData, `.h5mu` of MuData, `.h5` of 10x: cells × genes in HDF5, with names; other matrices by path."""

from __future__ import annotations

import warnings
from typing import Any

from nmfkit.errors import Caution, SourceError
from nmfkit.protocols import Source
from nmfkit.sources.columns import StoredByColumns
from nmfkit_plugins.files.containers import choose
from nmfkit_plugins.files.hdf5_csr import HDF5CSR
from nmfkit_plugins.files.hdf5_dense import HDF5Dense
from nmfkit_plugins.files.hdf5_inside import attribute, inside
from nmfkit_plugins.files.hdf5_names import Column, index_of
from nmfkit_plugins.files.hdf5_read import opened

MATRIX, LAYERS, RAW = "X", "layers", "raw"
"""Where AnnData keeps its matrix, and the groups of further ones."""

MODALITIES = "mod"
"""Where MuData keeps an AnnData group for each modality."""

LISTED = 200
"""Matrices looked for below the top of a file, at most."""

TENX = "10x"
"""A group as 10x writes it: genes × cells by columns, which is cells × genes by rows."""

ENCODINGS = {"csr": "csr_matrix", "csc": "csc_matrix"}
"""Names in files of AnnData before version 0.7."""


def read(path: str, *, key: str | None = None) -> Source:
    """The matrix `X`, or the only one there is, or the one at `key`: a path inside, or the name of a layer.

    Raises `SourceError` for a damaged file, and `StoredByColumns` for a matrix that must be converted first.
    """
    with opened(path) as file:
        try:
            name = _chosen(path, file, key)
            return _source(path, file, name)
        except (OSError, RuntimeError, KeyError) as error:
            raise SourceError(f"{path} is no readable HDF5 file: {error}") from error


def _source(path: str, file: Any, name: str) -> Source:
    node = inside(file, name)
    kind = _kind(node)
    rows, features = _names_of_10x(node) if kind == TENX else _names(file, name)
    m, n = _shape(node)
    rows, features = _fitting(path, file, rows, m, "rows"), _fitting(path, file, features, n, "features")
    if kind == "array":
        return HDF5Dense.open(path, node, rows, features)
    if kind == "csc_matrix":
        # The columns of X are the rows of Xᵀ.
        raise StoredByColumns(f"{path}: {name}", HDF5CSR.open(path, node, _shape(node)[::-1], features, rows))
    return HDF5CSR.open(path, node, _shape(node), rows, features)


def _chosen(path: str, file: Any, key: str | None) -> str:
    """The path of the matrix in the file."""
    if key is None and _kind(file.get(MATRIX)):
        return MATRIX
    for name in (key, f"{LAYERS}/{key}", f"{key}/{MATRIX}", f"{MODALITIES}/{key}/{MATRIX}") if key else ():
        if _kind(file.get(name)):
            return name
    shapes = {name: _shape(node) for name, node in _candidates(file).items()}
    others = {} if key is None or key not in file else {key: _what(file[key])}
    return choose(path, key, shapes, others)


def _candidates(file: Any) -> dict[str, Any]:
    """Every matrix at the top, among the layers, in `raw` and in the modalities, by its path; else any below."""
    found = dict(file.items())
    for group in (LAYERS, RAW):
        if hasattr(file.get(group), "items"):
            found |= {f"{group}/{name}": node for name, node in file[group].items()}
    if hasattr(file.get(MODALITIES), "items"):
        found |= {f"{MODALITIES}/{name}/{MATRIX}": node.get(MATRIX) for name, node in file[MODALITIES].items()}
    return {name: node for name, node in found.items() if _kind(node)} or _below(file)


def _below(file: Any) -> dict[str, Any]:
    """The matrices in groups of any depth, without what belongs to one of them, by path."""
    found: dict[str, Any] = {}

    def look(name: str, node: Any) -> bool | None:
        if _kind(node) and not any(name.startswith(f"{group}/") for group in found):
            found[name] = node
        return True if len(found) == LISTED else None  # h5py stops at anything but None

    file.visititems(look)
    return found


def _kind(node: Any) -> str | None:
    """How a matrix is stored: as an array, by rows, by columns, as 10x does; None where this is no matrix."""
    if node is None:
        return None
    if not hasattr(node, "keys"):
        return "array" if node.ndim == 2 and node.dtype.kind in "biuf" else None
    stored = attribute(node, "encoding-type", "h5sparse_format")
    encoding = ENCODINGS.get(_text(stored), _text(stored))
    if encoding in ENCODINGS.values():
        return encoding
    return TENX if {"data", "indices", "indptr", "shape", "barcodes"} <= set(node.keys()) else None


def _shape(node: Any) -> tuple[int, ...]:
    """The shape of the matrix that `_kind` knows, cells × genes for one of 10x."""
    if not hasattr(node, "keys"):
        return tuple(node.shape)
    if "shape" in node:
        return tuple(int(s) for s in node["shape"][:][::-1])
    stored = attribute(node, "shape", "h5sparse_shape")
    if stored is None or len(stored) != 2:
        raise SourceError(f"{node.file.filename}: {node.name}: a sparse matrix needs the attribute 'shape'")
    return tuple(int(s) for s in stored)


def _names(file: Any, name: str) -> tuple[str | None, str | None]:
    """The columns that name rows and features of the matrix at `name`, as AnnData lays them out."""
    root, parent = _parents(name)
    if parent in ("varm", "varp", "uns"):
        return None, None
    rows = index_of(file, f"{root}obs")
    if parent in ("obsm", "obsp"):
        return rows, None
    return rows, index_of(file, f"{root}{RAW}/var" if parent == RAW else f"{root}var")


def _parents(name: str) -> tuple[str, str]:
    """The path of the AnnData group that the matrix at `name` lies in, and the part of that group that it is in."""
    parts = name.strip("/").split("/")
    if parts[0] == MODALITIES and len(parts) > 2:
        return f"{MODALITIES}/{parts[1]}/", parts[2]
    return "", parts[0]


def _fitting(path: str, file: Any, names: str | None, count: int, what: str) -> str | None:
    """The path of the names if there are as many as `count`; else None, which a `Caution` tells."""
    if names is None:
        return None
    inside(file, names)
    length = len(Column(path, names))
    if length == count:
        return names
    warnings.warn(f"{path}: {names} has {length} names for {count} {what}, so none is used", Caution, stacklevel=2)
    return None


def _names_of_10x(group: Any) -> tuple[str | None, str | None]:
    """The columns of barcodes and of genes, by version 3 of 10x's files or an older one."""
    genes = next((n for n in ("features/name", "features/id", "gene_names", "genes") if n in group), None)
    return f"{group.name}/barcodes", f"{group.name}/{genes}" if genes else None


def _what(node: Any) -> str:
    return "a group" if hasattr(node, "keys") else f"{node.ndim}-D {node.dtype}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
