"""`.mat`: MATLAB files; a matrix of two dimensions, or an image of many bands of three."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from nmfkit.errors import SourceError
from nmfkit.protocols import Source
from nmfkit.sources import ArraySource, SparseSource
from nmfkit.sources.about import About
from nmfkit_plugins.files import mat_4, mat_5, mat_hdf5
from nmfkit_plugins.files.containers import affordable, choose
from nmfkit_plugins.files.mat_5 import Variables

NUMBERS = (
    "double",
    "single",
    "sparse",
    "logical",
    *(f"{u}int{b}" for u in ("", "u") for b in (8, 16, 32, 64)),
)


def read(path: str, *, key: str | None = None) -> Source:
    """The variable `key`, or the only one that is a matrix of numbers or an image; others are not read.

    An image (height, width, bands) becomes pixels × bands, its pixels row by row.
    """
    layout: Any = _layout(path)
    name = _chosen(path, key, layout.variables(path))
    return _source(path, layout.load(path, name))


def _layout(path: str) -> ModuleType:
    """What reads files of the version that `path` has."""
    with Path(path).open("rb") as file:
        header = file.read(mat_5.HEADER)
    if len(header) < mat_4.HEADER:
        raise SourceError(f"{path} is {'cut short' if header else 'empty'}: it has no header of a MATLAB file")
    if 0 in header[:4]:  # later versions begin with a text
        return mat_4
    version = header[124:128]
    if version in (b"\x00\x02IM", b"\x02\x00MI"):
        return mat_hdf5
    if version not in (b"\x00\x01IM", b"\x01\x00MI"):
        raise SourceError(f"{path} is no MATLAB file of a version that is known")
    return mat_5


def _chosen(path: str, key: str | None, variables: Variables) -> str:
    shapes = {name: shape for name, shape, kind in variables if kind in NUMBERS and len(shape) in (2, 3)}
    name = choose(path, key, shapes, _others(variables, shapes))
    # A sparse matrix takes what its entries take, which nobody knows yet.
    if not any(n == name and kind == "sparse" for n, _, kind in variables):
        affordable(path, int(np.prod(shapes[name], dtype=object)), repr(name))
    return name


def _others(variables: Variables, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    return {
        name: f"{len(shape)}-D {kind}" if len(shape) > 2 else kind
        for name, shape, kind in variables
        if name not in shapes
    }


def _source(path: str, matrix: Any) -> Source:
    if hasattr(matrix, "tocsr"):
        affordable(path, 8 * sum(matrix.shape))
        return SparseSource(matrix, uri=path)
    if not isinstance(matrix, np.ndarray):
        raise SourceError(f"{path}: the variable is a {type(matrix).__name__}, no matrix")
    if matrix.ndim != 3:
        return ArraySource(matrix, uri=path)
    height, width, bands = matrix.shape
    return ArraySource(matrix.reshape(-1, bands), uri=path, about=About(row_image=(height, width)))
