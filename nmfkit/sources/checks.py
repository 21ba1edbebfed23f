"""What a matrix must be before it is read: two-dimensional, not empty, of real numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from nmfkit.errors import DataError, UsageError

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
"""The dtypes that blocks have."""


def forced_dtype(dtype: Any) -> np.dtype[Any] | None:
    """The dtype that the user asked for, None where the data decide; raises `UsageError` for any other."""
    if dtype is None:
        return None
    try:
        wanted: np.dtype[Any] | None = np.dtype(dtype)
    except TypeError:
        wanted = None
    if wanted is None or wanted not in FLOATS:
        raise UsageError(f"dtype {dtype!r} is not supported; use float32 or float64")
    return wanted


def block_dtype(stored: Any, forced: Any, uri: str) -> np.dtype[Any]:
    """The dtype of blocks of data stored as `stored`; raises `DataError` for what is not real numbers."""
    held: np.dtype[Any] = np.dtype(stored)
    if held.kind not in "biuf":
        way_out = "take abs() or the real part first" if held.kind == "c" else "only real numbers factorize"
        raise DataError(f"{uri}: entries are {_kind(held)} ({held}); {way_out}")
    if forced is not None:
        wanted: np.dtype[Any] = np.dtype(forced)
        return wanted
    if held.kind == "f" and held.itemsize in (4, 8):
        return FLOATS[held.itemsize == 8]
    # float32 holds every integer up to 2²⁴ and every float16, so these lose nothing at half the memory.
    return FLOATS[0] if held.itemsize <= 2 else FLOATS[1]


@contextmanager
def in_range(values: Any, dtype: Any, where: str) -> Iterator[None]:
    """Refuse finite `values` that the block casts to infinity in `dtype`; what is too small becomes zero."""
    try:
        with np.errstate(over="raise", under="ignore", invalid="ignore"):
            yield
    except FloatingPointError:
        raise DataError(_beyond(np.asarray(values), np.dtype(dtype), where)) from None


def unmasked(array: Any, uri: str) -> Any:
    """The data of a masked array whose mask is empty; raises `DataError` where an entry is masked."""
    if not isinstance(array, np.ma.MaskedArray):
        return array
    mask = np.ma.getmaskarray(array)
    if not mask.any():
        return array.data
    place = ", ".join(str(int(i)) for i in np.unravel_index(int(np.argmax(mask)), mask.shape))
    raise DataError(
        f"{uri}: {int(np.count_nonzero(mask))} entries are masked (the first at {place}), which are missing values: "
        "fill or drop them first; nmfkit needs every entry known"
    )


def matrix_shape(shape: Sequence[int], uri: str) -> tuple[int, int]:
    """`shape` as (m, n); raises `DataError` where it is no matrix or has no entries."""
    if len(shape) != 2:
        raise DataError(f"{uri}: a matrix has 2 dimensions, this has {len(shape)} {tuple(shape)}; reshape it first")
    m, n = (int(s) for s in shape)
    if m == 0 or n == 0:
        raise DataError(f"{uri}: the matrix is empty, {m} rows × {n} columns")
    return (m, n)


def _beyond(values: Any, dtype: np.dtype[Any], where: str) -> str:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        lost = np.isfinite(values) & ~np.isfinite(values.astype(dtype))
    way_out = "use dtype float64" if dtype == FLOATS[0] else "scale the data down"
    return f"{where}: {values[lost][0]!s} is outside the range of {dtype.name}; {way_out}"


def _kind(dtype: np.dtype[Any]) -> str:
    kinds = {"c": "complex", "O": "Python objects", "M": "dates", "m": "time spans", "V": "records"}
    return kinds.get(dtype.kind, "text")
