"""CSR data on a GPU: products with thin factors, and Kullback–Leibler at the stored entries.

Sums over entries are kept in the data's own precision for 32 of them and in float64 beyond.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nmfkit.kernels.cuda import BLOCK, WARP, Array, c_type, ready, summed
from nmfkit.kernels.cuda.pattern import chunk_of, turned, warps
from nmfkit.kernels.floors import floor_for
from nmfkit.kernels.gpu import Launch

WIDTHS = (32, 64, 128)
"""Columns of a factor that a warp sums at a time, each by a kernel of its own."""
FUSED = 128
"""The most columns with which R hᵀ is summed where x/ŷ is made."""
SHARE = 4
"""Products of two rows of factors that a lane takes, so that a short row needs few lanes."""
FEW = 128
"""Threads of a block whose kernel takes many registers."""


def sampled_product(launch: Launch, u: Array, v: Array, indices: Array, indptr: Array) -> Array:
    """Σ_k u[row, k] v[k, column] at each stored entry, (nnz,)."""
    dtype = np.result_type(u, v)
    out = np.empty_like(u, shape=(len(indices),), dtype=dtype)
    factors = ready(u, dtype), ready(v.T, dtype), u.shape[1]
    count, chunk = _chunks(len(indices))
    pattern = ready(indices), ready(indptr, np.int64), len(indptr) - 1, len(indices), chunk
    launch(
        "sparse", "sampled", warps(count), BLOCK, *pattern, _group(u.shape[1]), *factors, out, **_types(dtype, indices)
    )
    return out


def csr_dot(launch: Launch, values: Array, indices: Array, indptr: Array, b: Array) -> Array:
    """x b, (rows, r)."""
    return _product(launch, values, indices, None, ready(indptr, np.int64), b)


def csr_tdot(launch: Launch, values: Array, indices: Array, indptr: Array, n: int, b: Array) -> Array:
    """xᵀ b, (n, r)."""
    by_column = turned(launch, indices, indptr, n)
    return _product(launch, values, by_column.rows, by_column.order, by_column.starts, b)


def csr_dense(launch: Launch, values: Array, indices: Array, indptr: Array, n: int) -> Array:
    """Every entry, (rows, n)."""
    rows = len(indptr) - 1
    out = np.zeros_like(values, shape=(rows, n), order="C")
    data = ready(values), ready(indices), ready(indptr, np.int64)
    launch("sparse", "dense", warps(rows), BLOCK, *data, rows, n, out, **_types(values.dtype, indices))
    return out


def kl_rows(
    launch: Launch, values: Array, indices: Array, indptr: Array, w: Array, h: Array, left: bool, right: bool
) -> tuple[float, Array | None, Array | None]:
    """Σ x ln(x/ŷ) − x, R hᵀ (rows, r) if `left`, Rᵀ w (n, r) if `right`: R = x/ŷ at the stored entries."""
    dtype, (rows, r) = np.result_type(values, w, h), w.shape
    w, columns = ready(w, dtype), ready(h.T, dtype)
    count, chunk = _chunks(len(indices))
    ratio = np.empty_like(w, shape=(len(indices),))
    value = np.zeros_like(w, shape=(count,), dtype=np.float64)
    a, parts = _sums(w, rows, r, count) if left and r <= FUSED else (None, None)
    ends = ready(indptr, np.int64)
    pattern = ready(values, dtype), ready(indices), ends, rows, len(indices), chunk
    limits = float(floor_for(dtype, 1.0)), float(np.finfo(dtype).tiny)
    out = ratio, value, a, parts
    launch(
        "sparse",
        f"kl_{_width(r)}",
        warps(count),
        FEW,
        *pattern,
        _group(r),
        w,
        columns,
        r,
        *limits,
        *out,
        **_types(dtype, indices),
    )
    if a is not None:
        _join(launch, ends, len(indices), a, parts, _types(dtype, indices))
    elif left:
        a = csr_dot(launch, ratio, indices, ends, columns)
    g = csr_tdot(launch, ratio, indices, indptr, h.shape[1], w) if right else None
    return summed(value), a, g


def _product(launch: Launch, values: Array, places: Array, order: Array | None, ends: Array, b: Array) -> Array:
    """Sums of values times lines of b between `ends`, (len(ends) − 1, r)."""
    dtype, r, rows = np.result_type(values, b), b.shape[1], len(ends) - 1
    count, chunk = _chunks(len(places))
    out, parts = _sums(b, rows, r, count, dtype)
    types = _types(dtype, places)
    pattern = ready(values, dtype), ready(places), order, ends, rows, len(places), chunk, count
    width = _width(r)
    threads = warps(count * -(-r // width))
    launch("sparse", f"product_{width}", threads, BLOCK, *pattern, ready(b, dtype), r, out, parts, **types)
    _join(launch, ends, len(places), out, parts, types)
    return out


def _sums(like: Array, rows: int, r: int, chunks: int, dtype: Any = None) -> tuple[Array, Array]:
    """Room for sums of rows, zero for those without an entry, and for two parts of rows from every chunk."""
    out = np.zeros_like(like, shape=(rows, r), dtype=dtype, order="C")
    return out, np.empty_like(like, shape=(2 * chunks, r), dtype=np.float64, order="C")


def _join(launch: Launch, ends: Array, entries: int, out: Array, parts: Any, types: dict[str, Any]) -> None:
    """Add up the rows that lie in several chunks."""
    count, chunk = _chunks(entries)
    if count > 1:
        pattern = ends, len(ends) - 1, entries, chunk
        launch("sparse", "join", warps(count - 1), BLOCK, *pattern, out.shape[1], out, parts, **types)


def _chunks(entries: int) -> tuple[int, int]:
    """The number of chunks, and the entries of each."""
    chunk = chunk_of(entries)
    return -(-entries // chunk), chunk


def _width(r: int) -> int:
    """The kernel whose warps sum r columns, or as many of them as can be."""
    return next((width for width in WIDTHS if r <= width), WIDTHS[-1])


def _group(r: int) -> int:
    """The lanes that share one product of two rows: a power of 2."""
    return int(min(WARP, 1 << max(0, -(-r // SHARE) - 1).bit_length()))


def _types(dtype: Any, indices: Array) -> dict[str, Any]:
    return {"REAL": c_type(dtype), "INDEX": c_type(indices.dtype)}
