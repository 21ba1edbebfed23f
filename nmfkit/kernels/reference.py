"""What each kernel means, in NumPy alone, for any array that NumPy's dispatch reaches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.kernels.floors import floor_for

Array = npt.NDArray[Any]
Product = Callable[[Array, Array, Array, int, Array], Array]

GATHER = 2**20
"""Entries of the gathered temporaries that `sampled_product` makes at a time."""


def row_of_entry(indptr: Array) -> Array:
    """The row of each stored entry, (nnz,)."""
    rows = np.arange(len(indptr) - 1, like=indptr)
    return np.repeat(rows, np.diff(indptr))


def sampled_product(u: Array, v: Array, indices: Array, indptr: Array) -> Array:
    """Σ_k u[row, k] v[k, column] at each stored entry; never an nnz × k temporary of the whole block."""
    rows, step = row_of_entry(indptr), max(1, GATHER // max(1, u.shape[1]))
    columns = np.ascontiguousarray(v.T, like=v)
    pieces = [
        np.einsum("ij,ij->i", u[rows[a : a + step]], columns[indices[a : a + step]])
        for a in range(0, max(1, len(indices)), step)
    ]
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def csr_dot(values: Array, indices: Array, indptr: Array, n: int, b: Array) -> Array:
    """out[row] += value b[column]."""
    del n
    return _summed(row_of_entry(indptr), values[:, None] * b[indices], len(indptr) - 1)


def csr_tdot(values: Array, indices: Array, indptr: Array, n: int, b: Array) -> Array:
    """out[column] += value b[row]."""
    return _summed(indices, values[:, None] * b[row_of_entry(indptr)], n)


def csr_dense(values: Array, indices: Array, indptr: Array, n: int) -> Array:
    """out[row, column] += value."""
    rows = len(indptr) - 1
    place = row_of_entry(indptr).astype(np.int64) * n + indices
    return _summed(place, values[:, None], rows * n).reshape(rows, n)


def _summed(place: Array, terms: Array, size: int) -> Array:
    """The rows of `terms` (nnz, r) added up by their place: (size, r), summed in float64."""
    # np.add.at would be the plain way, but no method of a ufunc is dispatched.
    columns = [np.bincount(place, weights=terms[:, k], minlength=size) for k in range(terms.shape[1])]
    return np.stack(columns, axis=1).astype(terms.dtype)


def hals(f: Array, q: Array, c: Array, inner: int) -> Array:
    """`inner` sweeps of f_k ← max(0, f_k + (c_k − F q_k) / q_kk), a tile of rows that stays in a cache at a time."""
    new = np.empty_like(f, dtype=np.result_type(f, c))
    q = q.astype(new.dtype, copy=False)
    diagonal = np.diagonal(q).tolist()
    step = max(1, GATHER // (max(1, new.shape[1]) * new.dtype.itemsize))
    for lo in range(0, len(new), step):
        rows = slice(lo, lo + step)
        # Columns of F as contiguous rows: each step is then one product of a row of Q with them all.
        columns = f[rows].T.astype(new.dtype, order="C", copy=True)
        targets = (c[rows] if len(c) == len(f) else c).T.astype(new.dtype, order="C", copy=True)
        for _ in range(inner):
            _sweep(columns, q, targets, diagonal)
        new[rows] = columns.T
    return new


def _sweep(columns: Array, q: Array, targets: Array, diagonal: list[float]) -> None:
    """One pass over the r columns, stored as rows of `columns` (r, rows), in place."""
    tiny = float(np.finfo(columns.dtype).tiny)
    for k, curvature in enumerate(diagonal):
        if curvature >= tiny:  # one over a smaller number is no number
            step = (targets[k] - q[k] @ columns) / curvature
            columns[k] = np.maximum(columns[k] + step, 0)
        else:
            # The other factor's column is zero, so only a linear penalty is left, which zero minimises.
            columns[k] = np.where(targets[k] < 0, 0, columns[k])


def kl_split(x: Array, y: Array) -> float:
    """Σ x ln(x/ŷ) − x, with x/ŷ in the place of ŷ, which is kept above a floor for that."""
    total = kl_value(x, y)
    np.maximum(y, floor_for(y.dtype, 1.0), out=y)
    np.divide(x, y, out=y)
    return total


def kl_terms(x: Array, y: Array) -> Array:
    """x ln(x/ŷ) − x entry by entry: what Kullback–Leibler is without Σ ŷ."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        terms = x / y
        # x = 0 meets ln of the smallest number instead of ln 0: the product is 0 all the same.
        np.maximum(terms, np.finfo(terms.dtype).tiny, out=terms)
        np.log(terms, out=terms)
        terms *= x
        terms -= x
    return terms


def kl_value(x: Array, y: Array) -> float:
    """Σ x ln(x/ŷ) − x, in float64."""
    terms = kl_terms(x, y)
    total = float(np.sum(terms, dtype=np.float64))
    if math.isnan(total):  # 0 / 0 somewhere: those terms are 0
        total = float(np.sum(np.where(x == 0, np.zeros_like(terms), terms), dtype=np.float64))
    return total


def kl_rows(
    values: Array,
    indices: Array,
    indptr: Array,
    w: Array,
    h: Array,
    left: bool,
    right: bool,
    dot: Product = csr_dot,
    tdot: Product = csr_tdot,
) -> tuple[float, Array | None, Array | None]:
    """The value as `kl_split`'s, and the ratios' products with hᵀ and wᵀ, as `dot` and `tdot` make them."""
    ratio = sampled_product(w, h, indices, indptr).astype(np.result_type(values, w, h), copy=False)
    value, n = kl_split(values, ratio), h.shape[1]
    a = dot(ratio, indices, indptr, n, h.T) if left else None
    g = tdot(ratio, indices, indptr, n, w) if right else None
    return value, a, g


def power(a: Array, p: float) -> Array:
    """a^p, by square roots and reciprocals where p is a multiple of ½: several times faster than `power`."""
    if p == 0:
        return np.ones_like(a)
    if p < 0:
        return 1 / power(a, -p)
    if p == 0.5:
        return np.sqrt(a)
    if p == 1.5:
        return a * np.sqrt(a)
    if p == 2:
        return np.square(a)
    result: Array = a if p == 1 else a**p
    return result


def beta_split(x: Array, y: Array, beta: float, pos: Array, neg: Array) -> float:
    """Σ d_β(x, ŷ), ŷ^(β−1) in `pos` and x ŷ^(β−2) in `neg`, both of ŷ kept above a floor."""
    value = float(np.sum(beta_terms(x, y, beta), dtype=np.float64))
    at = np.maximum(y, floor_for(y.dtype, max(2 - beta, 1.0)))
    pos[...] = power(at, beta - 1)
    if beta > 2:  # x/ŷ may overflow where x ŷ^(β−2) does not
        np.multiply(x, power(at, beta - 2), out=neg)
    else:
        np.divide(x, at, out=neg)
        np.multiply(neg, pos, out=neg)
    return value


def beta_terms(x: Array, y: Array, beta: float) -> Array:
    """d_β(x, ŷ) entry by entry, β ∉ {1, 2}."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return _itakura_saito(x, y) if beta == 0 else _general(x, y, beta)


def _itakura_saito(x: Array, y: Array) -> Array:
    ratio = x / y
    terms = np.where(ratio < math.inf, ratio - np.log(ratio) - 1, ratio)
    # 0 / 0 is no fit and no misfit of a power: the divergence is infinite wherever x or ŷ alone is zero.
    return np.where((x == 0) & (y == 0), np.zeros_like(terms), terms)


def _general(x: Array, y: Array, beta: float) -> Array:
    mixed = np.where(x > 0, x * power(y, beta - 1), np.zeros_like(y))
    both_zero = (x == 0) & (y == 0)
    terms: Array = (power(x, beta) + (beta - 1) * power(y, beta) - beta * mixed) / (beta * (beta - 1))
    if beta < 1:  # two infinite parts
        terms = np.where((x > 0) & (y == 0), np.full_like(terms, math.inf), terms)
    return np.where(both_zero, np.zeros_like(terms), terms)


def scd_rows(
    values: Array,
    indices: Array,
    indptr: Array,
    w: Array,
    h: Array,
    sums: Array,
    inner: int,
    l1: float,
    l2: float,
    floor: float,
) -> Array:
    """Coordinate steps over the columns of w, all rows at once; for the step see `cpu.coordinates.coordinate_step`."""
    rows, n = row_of_entry(indptr), len(indptr) - 1
    new = w.astype(np.result_type(values, w, h), copy=True)
    least = floor_for(new.dtype, 1.0)
    fitted = np.maximum(sampled_product(new, h, indices, indptr), least)
    for k in [*range(w.shape[1])] * inner:
        at = h[k][indices]
        share = at / fitted
        first = np.bincount(rows, weights=values * share, minlength=n)
        second = np.bincount(rows, weights=values * share * share, minlength=n)
        before = new[:, k].copy()
        stepped = _coordinate_step(before.astype(np.float64), float(sums[k]) + l1, first, second, l2)
        new[:, k] = np.maximum(stepped, floor)
        fitted = np.maximum(fitted + (new[:, k] - before)[rows] * at, new[:, k][rows] * at)
        fitted = np.maximum(fitted, least)
    return new


def _coordinate_step(w: Array, linear: float, first: Array, second: Array, l2: float) -> Array:
    slope = linear + l2 * w - first
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = second / first
        b = (linear + l2 * w) * mean + l2
        up = w - 2 * slope / (b + np.sqrt(b * b - 4 * l2 * mean * np.minimum(slope, 0)))
        b = slope - l2 * w + w * second
        rest = b + np.sqrt(b * b + 4 * l2 * w * (w * second))
        down = np.where(rest > 0, 2 * w * (w * second) / rest, w)
    result: Array = np.where(slope < 0, up, down)
    return result


def totals(x: Array) -> tuple[Array, Array, float, int, float, float]:
    """Row sums, column sums, Σ x², number of entries other than 0, smallest and largest entry, in float64."""
    with np.errstate(over="ignore"):  # entries of such a size are refused for it, later and with more to say
        squares = float(np.sum(np.square(x, dtype=np.float64)))
    rows: Any = np.sum(x, axis=1, dtype=np.float64)
    columns: Any = np.sum(x, axis=0, dtype=np.float64)
    return rows, columns, squares, int(np.count_nonzero(x)), float(x.min()), float(x.max())


def folded_scores(x: Array, mean: Array, inverse: Array, clip: float, y: Array) -> None:
    """y ← [max(z, 0), max(−z, 0)], at most `clip`; without a temporary, for max(−z, 0) is max(z, 0) − z to the bit."""
    left, right = y[:, : x.shape[1]], y[:, x.shape[1] :]
    np.subtract(x, mean, out=right)
    right *= inverse
    np.maximum(right, 0, out=left)
    np.subtract(left, right, out=right)
    if clip < math.inf:
        np.minimum(y, clip, out=y)
