"""Nonnegative least squares by block principal pivoting, for many rows with one matrix.

A Gram matrix comes here scaled to a unit diagonal, for a column's size to have no part in what counts as zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.kernels import reference

Array = npt.NDArray[Any]
Pivoting = Callable[[Array, Array, Array, int], Array]

NEAR = 1e-8
"""A smallest eigenvalue below this, of a matrix with unit diagonal, is made up for by a term near the start.

Products with X have some 16 digits: where the eigenvalue is at least this, 8 of a minimiser's are right.
"""
RENEWALS = 3
"""How often that term is renewed around the minimiser that it led to, so that it leaves no trace but in ties."""
PATIENCE = 3
"""Full exchanges that may fail to lessen the number of entries on the wrong side before one at a time is exchanged."""
SLACK = 16 * float(np.finfo(np.float64).eps)
"""What is no slope but rounding, relative to the terms that it is the sum of."""
SWEEPS = 100
"""Of coordinate descent, for rows that rounding keeps from ending."""


def nnls(q: Array, c: Array, start: Array | None, pivot: Pivoting) -> Array:
    """The minimiser for each row of `c`, in its dtype; `pivot` solves for matrices that are not near singular."""
    gram = q.astype(np.float64, copy=False)
    if not bool(np.all(np.isfinite(gram))):
        return np.full_like(c, np.nan)
    target = c.astype(np.float64, copy=False)
    begin = np.zeros_like(target) if start is None else start.astype(np.float64, copy=False)
    diagonal = np.diagonal(gram)
    flat = diagonal < float(np.finfo(np.float64).tiny)
    root = np.sqrt(np.where(flat, np.ones_like(diagonal), diagonal))
    same = _diagonal(gram)
    unit = np.where(same, 1.0, np.where(flat[:, None] | flat, 0.0, gram / root[:, None] / root))
    begin = begin * root
    # A column without curvature ends where its slope, if any, or else its start has it.
    target = np.where(flat, np.where(target < 0, -1.0, begin), target / root)
    found: Array = (_solved(unit, target, begin, same, pivot) / root).astype(c.dtype)
    return found


def _solved(unit: Array, target: Array, begin: Array, same: Array, pivot: Pivoting) -> Array:
    most = 100 + 5 * len(unit)
    if not len(unit) or float(np.min(np.linalg.eigvalsh(unit))) >= NEAR:
        return _ended(unit, target, begin, pivot, most)
    lifted = unit + np.where(same, NEAR, 0.0)
    for _ in range(RENEWALS):
        begin = _ended(lifted, target + NEAR * begin, begin, pivot, most)
    return begin


def _ended(q: Array, c: Array, begin: Array, pivot: Pivoting, most: int) -> Array:
    x = begin.copy()
    late = np.nonzero(~pivot(q, c, x, most))[0]
    if len(late):
        x[late] = reference.hals(x[late], q, c[late], SWEEPS)
    return x


def _diagonal(q: Array) -> Array:
    k = np.arange(len(q), like=q)
    where: Array = k[:, None] == k
    return where


def pivot(q: Array, c: Array, x: Array, most: int) -> Array:
    """Each row of `x` (rows, r) from its start to the minimiser, in place; which have got there in `most` exchanges.

    `q` (r, r) has a unit diagonal and is not near singular. Rows that have not got there stay as they were.
    """
    ended = np.zeros_like(c[:, 0] if c.shape[1] else np.sum(c, axis=1), dtype=bool)
    step = max(1, reference.GATHER // max(1, len(q)) ** 2)
    for lo in range(0, len(c), step):
        rows = slice(lo, lo + step)
        x[rows], ended[rows] = _tile(q, c[rows], x[rows], most)
    return ended


def _tile(q: Array, c: Array, x: Array, most: int) -> tuple[Array, Array]:
    """Every row's passive set exchanged until its entries are ≥ 0 and the slopes of all others too."""
    found, passive = x.copy(), x > 0
    ended = np.zeros_like(np.sum(x, axis=1), dtype=bool)
    going = np.arange(len(x), like=x).astype(np.int64)
    fewest = np.full_like(going, c.shape[1] + 1)
    patience = np.full_like(going, PATIENCE)
    for _ in range(most):
        values, wrong = _looked_at(q, c[going], passive[going])
        count = np.sum(wrong, axis=1)
        done = count == 0
        found[going[done]] = np.maximum(values[done], 0)
        ended[going[done]] = True
        left = ~done
        going, wrong, count = going[left], wrong[left], count[left]
        if not len(going):
            break
        less = count < fewest[going]
        whole = less | (patience[going] > 0)
        patience[going] = np.where(less, PATIENCE, np.maximum(patience[going] - 1, 0))
        fewest[going] = np.where(less, count, fewest[going])
        passive[going] = passive[going] ^ np.where(whole[:, None], wrong, _last(wrong))
    return found, ended


def _looked_at(q: Array, c: Array, passive: Array) -> tuple[Array, Array]:
    """The minimisers with all but the passive entries 0, and which entries or slopes of each are negative."""
    both = passive[:, :, None] & passive[:, None, :]
    # Outside the passive set, the identity and zeros: no row's system is smaller than another's.
    systems = np.where(both, q, np.where(_diagonal(q), 1.0, 0.0))
    values = np.linalg.solve(systems, np.where(passive, c, 0.0)[:, :, None])[:, :, 0]
    slack = SLACK * (np.sum(np.abs(values), axis=1)[:, None] + np.abs(c))
    # What is no number is on the wrong side of everything.
    wrong = np.where(passive, values < 0, ~(values @ q - c >= -slack))
    return values, wrong


def _last(wrong: Array) -> Array:
    """The last entry of each row that is true, alone."""
    k = np.arange(wrong.shape[1], like=wrong)
    last: Array = k == np.max(np.where(wrong, k, -1), axis=1)[:, None]
    return last
