"""HDF5 files opened for one read at a time, so that no handle is shared by threads or sent to processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.errors import NmfkitError, SourceError
from nmfkit.sources.checks import in_range

GROUP_BYTES = 2**24
"""Bytes read at once (one row of chunks at least): what is cast is held beside the result."""


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """The open file; raises `SourceError` where it is damaged, cut short or no HDF5."""
    try:
        import h5py
    except ImportError as error:
        raise SourceError(f"{path}: HDF5 files need the package h5py: pip install 'nmfkit[h5ad]'") from error
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise SourceError(f"{path} is no readable HDF5 file: {error}") from error
    with file:
        yield file


def read_range(dataset: Any, lo: int, hi: int, out: npt.NDArray[Any], uri: str, what: str = "rows") -> None:
    """Fill `out` with `dataset[lo:hi]`, cast to its dtype; raises `SourceError` naming what cannot be read."""
    step = _step(dataset)
    edges = [lo, *range((lo // step + 1) * step, hi, step), hi]
    for a, b in pairwise(edges) if hi > lo else ():
        try:
            _read_part(dataset, a, b, out[a - lo : b - lo], uri)
        except (NmfkitError, MemoryError):
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise SourceError(f"{uri}: {what} {a} … {b - 1} cannot be read: {reason}") from error


def _read_part(dataset: Any, a: int, b: int, target: npt.NDArray[Any], uri: str) -> None:
    if dataset.dtype == target.dtype:
        dataset.read_direct(target, np.s_[a:b])
        return
    # HDF5 would cast as well, but make numbers that are too large infinite without a word.
    values = dataset[a:b]
    with in_range(values, target.dtype, uri):
        target[...] = values


def _step(dataset: Any) -> int:
    """Rows that are read at once: whole chunks, where there are any."""
    row = max(1, int(np.prod(dataset.shape[1:])) * dataset.dtype.itemsize)
    rows = max(1, GROUP_BYTES // row)
    chunk = dataset.chunks[0] if dataset.chunks else 1
    return int(chunk * max(1, rows // chunk))
