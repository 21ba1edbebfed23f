"""What a look at a dense tile finds, in one pass over it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.kernels.cpu.compiling import compiled
from nmfkit.kernels.cpu.elementary import bits

Array = npt.NDArray[Any]


def totals(x: Array) -> tuple[Array, Array, float, int, float, float]:
    """Row sums, column sums, Σ x², number of entries other than 0, smallest and largest entry (NaN if there is one).

    Numbers ≥ 0 are in the order of their bits as integers, negative ones are negative integers, and NaN lies beyond
    infinity: so two integers tell whether anything is wrong, which comparing floats would have to ask of each.
    """
    as_integer = np.int32 if x.dtype == np.float32 else np.int64
    rows, columns = np.zeros(len(x)), np.zeros(x.shape[1])
    squares, positive, low, high = _totals(x, rows, columns)
    if low < 0 or high > as_integer(np.array(np.inf, x.dtype).view(as_integer)):
        return rows, columns, squares, positive, float(x.min()), float(x.max())
    ends = np.array([low, high], as_integer).view(x.dtype)
    return rows, columns, squares, positive, float(ends[0]), float(ends[1])


@compiled
def _totals(x: Any, rows: Any, columns: Any) -> Any:
    low, high, positive, squares = bits(x[0, 0]), bits(x[0, 0]), 0, 0.0
    for i in range(x.shape[0]):
        row, square = 0.0, 0.0
        filled: Any = np.int32(0)
        for j in range(x.shape[1]):
            v = np.float64(x[i, j])
            b = bits(x[i, j])
            row += v
            square += v * v
            columns[j] += v
            filled += np.int32(v != 0)
            low, high = min(low, b), max(high, b)
        rows[i] = row
        squares += square
        positive += filled
    return squares, positive, low, high
