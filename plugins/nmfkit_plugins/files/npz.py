"""`.npz`: what `scipy.sparse.save_npz` writes, CSR or CSC parts with others beside them, arrays by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nmfkit.errors import SourceError
from nmfkit.protocols import Source
from nmfkit.sources import ArraySource, SparseSource
from nmfkit_plugins.files.containers import affordable, choose, numpy_file

PARTS = ("data", "indices", "indptr", "shape")
SPARSE = "sparse"
"""How the matrix is listed whose parts have no prefix."""


def read(path: str, *, key: str | None = None) -> Source:
    """The matrix in `path`: a 2-D array by its name, or sparse parts by prefix (`attr` for `attr_data`).

    Text members `rows` and `features` of fitting length become names.
    """
    # Opened here: NumPy leaves a damaged archive open. Not by np.load, which takes garbage for a pickle.
    with numpy_file(path), Path(path).open("rb") as raw, np.lib.npyio.NpzFile(raw) as file:
        if {"format", "shape", "data"} <= set(file.files) and key is None:
            return _source(_of_scipy(path, file), path, file)
        prefixes = _prefixes(file.files)
        arrays, others = _arrays(file, prefixes)
        shapes = {name: _shape(path, file, f"{p}shape") for name, p in prefixes.items()}
        # Parts without a prefix are what the file is about; arrays beside them are labels.
        name = SPARSE if key is None and SPARSE in shapes else choose(path, key, shapes | arrays, others)
        matrix = _compressed(path, file, prefixes[name]) if name in prefixes else _member(path, file, name)
        return _source(matrix, path, file)


def _of_scipy(path: str, file: Any) -> Any:
    """What `save_npz` wrote, once it is known that its parts can be held."""
    from scipy.sparse import load_npz

    for name in file.files:
        _checked(path, file, name)
    affordable(path, 8 * sum(_shape(path, file, "shape")))
    return load_npz(path)


def _shape(path: str, file: Any, name: str) -> tuple[int, ...]:
    """The shape of a sparse matrix; raises `SourceError` where the member holds none."""
    shape, dtype = _header(file, name)
    if shape != (2,) or dtype.kind not in "iu":
        raise SourceError(f"{path}: {name!r} is {len(shape)}-D {dtype}, not the two sides of a matrix")
    return tuple(int(s) for s in _member(path, file, name))


def _member(path: str, file: Any, name: str) -> Any:
    """The array of that name, whole."""
    _checked(path, file, name)
    return file[name]


def _checked(path: str, file: Any, name: str) -> None:
    """Raise `SourceError` where the member promises more numbers than it holds bytes for, or than there is memory."""
    if f"{name}.npy" not in file.zip.namelist():
        return
    shape, dtype = _header(file, name)
    size, held = math.prod(shape) * dtype.itemsize, file.zip.getinfo(f"{name}.npy").file_size
    if size > held:
        raise SourceError(f"{path}: {name!r} is damaged: {size:,} bytes are promised, and it has {held:,}")
    affordable(path, size, repr(name))


def _prefixes(members: Sequence[str]) -> dict[str, str]:
    """Sparse matrices among the members, by name: their parts are `prefix` + data, indices, indptr, shape."""
    prefixes = [m.removesuffix("indptr") for m in members if m.endswith("indptr")]
    return {p.rstrip("_.-") or SPARSE: p for p in prefixes if all(p + part in members for part in PARTS)}


def _arrays(file: Any, prefixes: dict[str, str]) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Shapes of the 2-D arrays of numbers, and what the other members are."""
    parts = {p + part for p in prefixes.values() for part in PARTS}
    arrays: dict[str, tuple[int, ...]] = {}
    others: dict[str, str] = {}
    for name in file.files:
        if name in parts:
            continue
        if f"{name}.npy" not in file.zip.namelist():
            others[name] = "no array"
            continue
        shape, dtype = _header(file, name)
        if len(shape) == 2 and dtype.kind in "biufc":
            arrays[name] = shape
        else:
            others[name] = f"{len(shape)}-D {dtype}"
    return arrays, others


def _header(file: Any, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of a member, without reading the rest of it."""
    from numpy.lib import format as npy

    with file.zip.open(f"{name}.npy") as member:
        old = npy.read_magic(member) == (1, 0)
        shape, _, dtype = npy.read_array_header_1_0(member) if old else npy.read_array_header_2_0(member)
        return shape, dtype


def _compressed(path: str, file: Any, prefix: str) -> Any:
    """CSR or CSC parts, told apart by the length of `indptr`; where both fit, rows are taken."""
    from scipy.sparse import csc_array, csr_array

    m, n = _shape(path, file, prefix + "shape")
    affordable(path, 8 * (m + n))
    data, indices, indptr = (_member(path, file, prefix + part) for part in PARTS[:3])
    kinds = [kind for kind, length in ((csr_array, m), (csc_array, n)) if len(indptr) == length + 1]
    if not kinds:
        raise SourceError(
            f"{path}: {prefix}indptr has {len(indptr)} elements, which fits neither {m} rows nor {n} columns"
        )
    return kinds[0]((data, indices, indptr), shape=(m, n))


def _source(matrix: Any, path: str, file: Any) -> Source:
    m, n = matrix.shape if matrix.ndim == 2 else (0, 0)
    kind = ArraySource if isinstance(matrix, np.ndarray) else SparseSource
    return kind(
        matrix, uri=path, row_names=_text(path, file, "rows", m), feature_names=_text(path, file, "features", n)
    )


def _text(path: str, file: Any, name: str, length: int) -> tuple[str, ...] | None:
    if name not in file.files:
        return None
    shape, dtype = _header(file, name)
    if shape != (length,) or dtype.kind not in "US":
        return None
    return tuple(_member(path, file, name).astype(str).tolist())
