"""Products of CSR data with thin factors, and with a product of two at the stored entries.

The rank is padded to a constant of the compiled loop, which then needs no remainder. Sums of many terms are kept
in the data's precision for a hundred of them and in float64 beyond: a row or column may store millions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.kernels.cpu.compiling import compiled, per_constant, reducing
from nmfkit.kernels.cpu.layout import frozen, padded

Array = npt.NDArray[Any]

RUN = 128
"""Stored entries of a row that are taken at a time, and summed in the data's own precision."""
FLUSH = 64
"""Terms of a column that are summed in the data's own precision."""


def sampled_product(u: Array, v: Array, indices: Array, indptr: Array) -> Array:
    """Σ_k u[row, k] v[k, column] at each stored entry, (nnz,)."""
    dtype = np.result_type(u, v)
    wide = padded(u, dtype)
    out = np.empty(len(indices), dtype)
    _sampled(wide.shape[1])(places(indices), starts(indptr), wide, padded(v.T, dtype), out)
    return out


def csr_dot(values: Array, indices: Array, indptr: Array, b: Array) -> Array:
    """x b, (rows, r)."""
    dtype = np.result_type(values, b)
    wide = padded(b, dtype)
    out = np.empty((len(indptr) - 1, b.shape[1]), dtype)
    _dot(wide.shape[1])(frozen(values, dtype), places(indices), starts(indptr), wide, out)
    return out


def csr_tdot(values: Array, indices: Array, indptr: Array, n: int, b: Array) -> Array:
    """xᵀ b, (n, r)."""
    dtype = np.result_type(values, b)
    wide = padded(b, dtype)
    out = np.empty((n, b.shape[1]), dtype)
    _tdot(wide.shape[1])(frozen(values, dtype), places(indices), starts(indptr), wide, out)
    return out


def places(indices: Array) -> Array:
    """Column numbers without a sign: a compiled loop would ask of every one whether it counts from the end."""
    return frozen(indices).view(f"u{indices.dtype.itemsize}")


def starts(indptr: Array) -> Array:
    """Row ends as one kind of integer; there are few."""
    return frozen(indptr, np.int64)


@per_constant
def _sampled(rank: int) -> Any:
    @compiled
    def sampled(indices: Any, indptr: Any, u: Any, v: Any, out: Any) -> Any:
        for i in range(len(indptr) - 1):
            lo, hi = indptr[i], indptr[i + 1]
            row_products(rank, u[i], v, indices[lo:hi], out[lo:hi])

    return sampled


@per_constant
def _dot(rank: int) -> Any:
    @compiled
    def dot(values: Any, indices: Any, indptr: Any, b: Any, out: Any) -> Any:
        part, total = np.empty(rank, b.dtype), np.empty(rank, np.float64)
        for i in range(len(indptr) - 1):
            total[:] = 0
            for lo in range(indptr[i], indptr[i + 1], RUN):
                hi = min(lo + RUN, indptr[i + 1])
                row_sums(rank, values[lo:hi], b, indices[lo:hi], part)
                for k in range(rank):
                    total[k] += part[k]
            for k in range(out.shape[1]):
                out[i, k] = total[k]

    return dot


@per_constant
def _tdot(rank: int) -> Any:
    @compiled
    def tdot(values: Any, indices: Any, indptr: Any, b: Any, out: Any) -> Any:
        n = len(out)
        part, total, terms = np.zeros((n, rank), b.dtype), np.zeros((n, rank), np.float64), np.zeros(n, np.int32)
        for i in range(len(indptr) - 1):
            lo, hi = indptr[i], indptr[i + 1]
            add_to_columns(rank, values[lo:hi], b[i], indices[lo:hi], part, total, terms)
        gather_sums(part, total, out)

    return tdot


# The three loops that everything sparse is made of. Four entries at a time: what they share is loaded once, and
# their sums do not wait for each other. `rank` is a constant where they are inlined.


@reducing
def row_products(rank: Any, w: Any, columns: Any, js: Any, out: Any) -> None:
    """out[p] = ⟨w, columns[js[p]]⟩."""
    whole = len(js) // 4
    for p in range(whole):
        a, b, c, d = columns[js[4 * p]], columns[js[4 * p + 1]], columns[js[4 * p + 2]], columns[js[4 * p + 3]]
        s = t = u = v = w.dtype.type(0)
        for k in range(rank):
            s += w[k] * a[k]
            t += w[k] * b[k]
            u += w[k] * c[k]
            v += w[k] * d[k]
        out[4 * p], out[4 * p + 1], out[4 * p + 2], out[4 * p + 3] = s, t, u, v
    for p in range(4 * whole, len(js)):
        a, s = columns[js[p]], w.dtype.type(0)
        for k in range(rank):
            s += w[k] * a[k]
        out[p] = s


@reducing
def row_sums(rank: Any, r: Any, columns: Any, js: Any, out: Any) -> None:
    """out = Σ_p r[p] columns[js[p]]."""
    out[:] = 0
    whole = len(js) // 4
    for p in range(whole):
        a, b, c, d = columns[js[4 * p]], columns[js[4 * p + 1]], columns[js[4 * p + 2]], columns[js[4 * p + 3]]
        s, t, u, v = r[4 * p], r[4 * p + 1], r[4 * p + 2], r[4 * p + 3]
        for k in range(rank):
            out[k] += (s * a[k] + t * b[k]) + (u * c[k] + v * d[k])
    for p in range(4 * whole, len(js)):
        s, a = r[p], columns[js[p]]
        for k in range(rank):
            out[k] += s * a[k]


@reducing
def add_to_columns(rank: Any, r: Any, w: Any, js: Any, part: Any, total: Any, terms: Any) -> None:
    """Column sums js[p] += r[p] w; `FLUSH` terms in `part`, counted in `terms`, go over into `total`."""
    for p in range(len(js)):
        j = js[p]
        scale, column = r[p], part[j]
        for k in range(rank):
            column[k] += scale * w[k]
        terms[j] += 1
        if terms[j] == FLUSH:
            terms[j], wide = 0, total[j]
            for k in range(rank):
                wide[k] += column[k]
            for k in range(rank):
                column[k] = 0


@reducing
def gather_sums(part: Any, total: Any, out: Any) -> None:
    """The column sums, rounded once."""
    for j in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[j, k] = total[j, k] + part[j, k]
