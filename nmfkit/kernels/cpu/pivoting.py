"""Block principal pivoting row by row: a Cholesky factor of the passive set, made anew at each exchange."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.kernels.cpu.compiling import compiled, reducing
from nmfkit.kernels.cpu.layout import frozen
from nmfkit.kernels.pivoting import PATIENCE, SLACK

Array = npt.NDArray[Any]


def pivot(q: Array, c: Array, x: Array, most: int) -> Array:
    """Each row of `x` (rows, r) from its start to the minimiser, in place; which have got there in `most` exchanges."""
    ended = np.zeros(len(x), np.bool_)
    own = np.ascontiguousarray(x)
    _rows(frozen(q, np.float64), frozen(c, np.float64), own, ended, most)
    if own is not x:
        x[...] = own
    return ended


@reducing
def _dot(a: Any, b: Any, n: Any) -> Any:
    total = 0.0
    for k in range(n):
        total += a[k] * b[k]
    return total


@reducing
def _factor(q: Any, places: Any, count: Any, lower: Any, inverse: Any) -> None:
    """The Cholesky factor of the rows and columns of q at `places`, and one over its diagonal."""
    for i in range(count):
        row, own = q[places[i]], lower[i]
        for j in range(i):
            own[j] = (row[places[j]] - _dot(own, lower[j], j)) * inverse[j]
        inverse[i] = 1.0 / np.sqrt(row[places[i]] - _dot(own, own, i))


@reducing
def _solve(lower: Any, inverse: Any, count: Any, b: Any) -> None:
    """The solution in the place of the right-hand side."""
    for i in range(count):
        b[i] = (b[i] - _dot(lower[i], b, i)) * inverse[i]
    for i in range(count - 1, -1, -1):
        b[i] *= inverse[i]
        for j in range(i):
            b[j] -= b[i] * lower[i, j]


@reducing
def _minimise(q: Any, c: Any, passive: Any, values: Any, places: Any, lower: Any, inverse: Any, b: Any) -> None:
    """The minimiser with all but the passive entries 0, in `values`."""
    count = 0
    for k in range(len(c)):
        values[k] = 0.0
        if passive[k]:
            places[count], b[count] = k, c[k]
            count += 1
    _factor(q, places, count, lower, inverse)
    _solve(lower, inverse, count, b)
    for i in range(count):
        values[places[i]] = b[i]


@reducing
def _mark(q: Any, c: Any, passive: Any, values: Any, wrong: Any) -> Any:
    """How many entries or slopes are negative, which, and the last of them."""
    size = 0.0
    for k in range(len(c)):
        size += abs(values[k])
    count, last = 0, 0
    for k in range(len(c)):
        if passive[k]:
            wrong[k] = values[k] < 0
        else:
            # What is no number is on the wrong side of everything.
            wrong[k] = not (_dot(q[k], values, len(c)) - c[k] >= -SLACK * (size + abs(c[k])))
        if wrong[k]:
            count, last = count + 1, k
    return count, last


@compiled
def _rows(q: Any, c: Any, x: Any, ended: Any, most: Any) -> None:
    rank = q.shape[0]
    passive, wrong = np.zeros(rank, np.bool_), np.zeros(rank, np.bool_)
    values, inverse, b = np.zeros(rank), np.zeros(rank), np.zeros(rank)
    places, lower = np.zeros(rank, np.int64), np.zeros((rank, rank))
    for i in range(len(x)):
        fewest, patience = rank + 1, PATIENCE
        for k in range(rank):
            passive[k] = x[i, k] > 0
        for _ in range(most):
            _minimise(q, c[i], passive, values, places, lower, inverse, b)
            count, last = _mark(q, c[i], passive, values, wrong)
            if count == 0:
                ended[i] = True
                for k in range(rank):
                    x[i, k] = values[k]
                break
            whole = count < fewest or patience > 0
            if count < fewest:
                fewest, patience = count, PATIENCE
            elif patience > 0:
                patience -= 1
            for k in range(rank):
                if wrong[k] if whole else k == last:
                    passive[k] = not passive[k]
