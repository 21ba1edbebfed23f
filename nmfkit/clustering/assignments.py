"""The group that each row belongs to: the component that weighs most in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from nmfkit.array_rows import is_result
from nmfkit.blocks import Array
from nmfkit.errors import UsageError
from nmfkit.levels import levels_of, product

if TYPE_CHECKING:
    from nmfkit.result import Result

BLOCK = 4 * 2**20
"""Bytes of W that are read at once."""

NONE = -1
"""The label of a row that belongs to no group."""


def clusters(w: Array) -> Array:
    """The column of the largest entry of each row of w (k, r), the first of equals; −1 where the row is all zero."""
    return np.where(np.any(w > 0, axis=1), np.argmax(w, axis=1), NONE)


def parts(w: Array) -> Array:
    """The rows of w (k, r) scaled to the sum 1; rows of zeros stay as they are."""
    total = np.sum(w, axis=1, keepdims=True)
    scaled: Array = w / np.where(total > 0, total, 1)
    return scaled


def weighing(result: Result) -> tuple[str, Array | None]:
    """The row factor that weighs the components next to the data, and the (p, r) that it is to be multiplied by.

    Of a model with levels that is the first one. Raises `UsageError` where there are several factors of the rows and
    no level says which one counts.
    """
    if levels := levels_of(result.model, result.state.current):
        shared = result.model.factors(result.state.current)
        return levels[0].row, product(shared, levels[0].chain) if levels[0].chain else None
    names = [name for name in result.model.row_factors if is_result(name)]
    if len(names) != 1:
        raise UsageError(
            f"rows are grouped by the factor that weighs the components, and this model has {len(names)} factors of "
            f"the rows, {', '.join(names)}: take the argmax of the one that you mean, in result.factors"
        )
    return names[0], None


def blocks(result: Result) -> Iterator[Array]:
    """The weights of all rows (k, r), some rows at a time."""
    name, chain = weighing(result)
    first = result.state.rows.read(0, min(1, result.shape[0]))[name]
    step = max(1, BLOCK // max(1, first.shape[1] * first.dtype.itemsize))
    for lo in range(0, result.shape[0], step):
        w = np.asarray(result.state.rows.read(lo, min(result.shape[0], lo + step))[name])
        yield w if chain is None else w @ chain


def labels(result: Result) -> Array:
    """The group of each row (m,) int64; −1 of rows of zeros."""
    return np.concatenate([clusters(w) for w in blocks(result)]).astype(np.int64, copy=False)


def memberships(result: Result) -> Array:
    """The part of each group in each row (m, r); rows add up to 1, or are zero."""
    return np.concatenate([parts(w) for w in blocks(result)])
