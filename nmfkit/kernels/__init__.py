"""The table of numeric kernels: plain functions, each with a NumPy reference and compiled versions.

| name | result |
|---|---|
| `sampled_product(u, v, indices, indptr)` | (u v) at a CSR pattern, (nnz,) |
| `csr_dot(values, indices, indptr, n, b)` | x b, (rows, r) |
| `csr_tdot(values, indices, indptr, n, b)` | xᵀ b, (n, r) |
| `csr_dense(values, indices, indptr, n)` | x, (rows, n) |
| `hals(f, q, c, inner)` | sweeps of HALS over the columns of f, (rows, r) |
| `nnls(q, c, start)` | argmin over f ≥ 0 of ½ f q fᵀ − f cᵀ for each row of c, (rows, r) |
| `kl_split(x, y)` | Σ x ln(x/ŷ) − x; y becomes x/ŷ |
| `beta_split(x, y, beta, pos, neg)` | Σ d_β(x, ŷ); ŷ^(β−1) and x ŷ^(β−2) |
| `kl_rows(values, indices, indptr, w, h, left, right)` | Σ x ln(x/ŷ) − x, R hᵀ, Rᵀ w with R = x/ŷ on a CSR pattern |
| `totals(x)` | sums, squares, count and range of a dense tile |
| `folded_scores(x, mean, inverse, clip, y)` | z = (x − mean) inverse; y becomes [max(z, 0), max(−z, 0)] |
| `power_root(high, low, p, q, reach)` | t with high t^(p−1) + low t^(q−1) = 0 |
| `quadratic_root(a, b, c, spacing, reach)` | t with a s² + b s + c = 0, s = t^spacing |
| `tied_root(weight, slope, pull, reach)` | t with slope − pull/t + weight ln t = 0 |
| `scd_rows(values, indices, indptr, w, h, sums, …)` | coordinate steps for KL in the rows of w |
| `symmetric_cd(values, indices, indptr, h, inner)` | coordinate sweeps for ½ ‖A − h hᵀ‖², A in CSR; (n, r) |

The reference (`reference.py`, `pivoting.py`, `symmetric.py`, `roots.py`) runs on any array that NumPy's dispatch
reaches. On host arrays the versions of `cpu/` take over once the work outweighs compiling them; on arrays for which
`gpu.py` knows who launches kernels its versions always do. Which one runs depends on sizes and kinds of arrays
alone, so a fit repeats bit for bit. A caller that goes through its data in tiles says with `whole` how many rows they
are tiles of. Of arrays that are elsewhere, a sum may be one without dimensions, which `float` makes a number.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.kernels import pivoting, reference, roots, symmetric
from nmfkit.kernels.gpu import TYPES, Launch, launcher

Array = npt.NDArray[Any]

on_compile: Callable[[str], None] | None = None
"""Called with a sentence, once, where compiling takes longer than a third of a second; from another thread."""

JIT_WORK = 2**22
"""Nanoseconds of NumPy's time in one call, roughly, above which compiling (a second or two) pays within a fit."""
LANES = 16
"""Columns of a thin factor that cost as much as one."""
PRODUCT, LOG, POWER, TOTALS, TIED, SOLVE, STEP, FOLD = 0.25, 3, 10, 6, 40, 2, 20_000, 1
"""Nanoseconds for one product in SciPy, for one entry of what the others are named for in NumPy."""


def _compiled(work: float, rows: int, whole: int, *arrays: Array) -> bool:
    """Whether the work of all tiles together pays for compiling, on host arrays of floats."""
    if work * max(1.0, whole / max(rows, 1)) < JIT_WORK or not _on_host(*arrays):
        return False
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return False
    return np.result_type(*(a.dtype for a in arrays if a.dtype.kind not in "iu")) in (np.float32, np.float64)


def _on_host(*arrays: Array) -> bool:
    return all(type(a) is np.ndarray for a in arrays)


def _fused(*arrays: Array) -> Launch | None:
    """Who launches kernels on these arrays, if they are of dtypes that those take."""
    launch = launcher(*arrays)
    return launch if launch is None or all(a.dtype.name in TYPES for a in arrays) else None


def sampled_product(u: Array, v: Array, indices: Array, indptr: Array, *, whole: int = 0) -> Array:
    """(u v) at the entries of a CSR pattern: `u` (rows, k), `v` (k, n) -> (nnz,)."""
    if _compiled(len(indices) * u.shape[1], len(u), whole, u, v, indices, indptr):
        from nmfkit.kernels.cpu import sparse

        return sparse.sampled_product(u, v, indices, indptr)
    if launch := _fused(u, v, indices, indptr):
        from nmfkit.kernels.gpu import sparse as on_gpu

        return on_gpu.sampled_product(launch, u, v, indices, indptr)
    return reference.sampled_product(u, v, indices, indptr)


def csr_dot(values: Array, indices: Array, indptr: Array, n: int, b: Array, *, whole: int = 0) -> Array:
    """x b for CSR x (rows, n), `b` (n, r) -> (rows, r)."""
    if _compiled(PRODUCT * len(values) * max(b.shape[1], LANES), len(indptr) - 1, whole, values, indices, indptr, b):
        from nmfkit.kernels.cpu import sparse

        return sparse.csr_dot(values, indices, indptr, b)
    if _on_host(values, b):
        return _in_double(_scipy(values, indices, indptr, n), b)
    if launch := _fused(values, indices, indptr, b):
        from nmfkit.kernels.gpu import sparse as on_gpu

        return on_gpu.csr_dot(launch, values, indices, indptr, b)
    return reference.csr_dot(values, indices, indptr, n, b)


def csr_tdot(values: Array, indices: Array, indptr: Array, n: int, b: Array, *, whole: int = 0) -> Array:
    """xᵀ b for CSR x (rows, n), `b` (rows, r) -> (n, r)."""
    if _compiled(PRODUCT * len(values) * max(b.shape[1], LANES), len(indptr) - 1, whole, values, indices, indptr, b):
        from nmfkit.kernels.cpu import sparse

        return sparse.csr_tdot(values, indices, indptr, n, b)
    if _on_host(values, b):
        return _in_double(_scipy(values, indices, indptr, n).T, b)
    if launch := _fused(values, indices, indptr, b):
        from nmfkit.kernels.gpu import sparse as on_gpu

        return on_gpu.csr_tdot(launch, values, indices, indptr, n, b)
    return reference.csr_tdot(values, indices, indptr, n, b)


def csr_dense(values: Array, indices: Array, indptr: Array, n: int) -> Array:
    """Every entry of CSR x, (rows, n)."""
    if _on_host(values):
        return np.asarray(_scipy(values, indices, indptr, n).toarray())
    if launch := _fused(values, indices, indptr):
        from nmfkit.kernels.gpu import sparse

        return sparse.csr_dense(launch, values, indices, indptr, n)
    return reference.csr_dense(values, indices, indptr, n)


def _in_double(x: Any, b: Array) -> Array:
    """X b with sums in float64: SciPy adds up term by term, and a row may store a million."""
    product = x.astype(np.float64) @ np.ascontiguousarray(b, dtype=np.float64)
    return np.asarray(product, dtype=np.result_type(x.dtype, b.dtype))


def _scipy(values: Array, indices: Array, indptr: Array, n: int) -> Any:
    from scipy.sparse import csr_array

    return csr_array((values, indices, indptr), shape=(len(indptr) - 1, n), copy=False)


def hals(f: Array, q: Array, c: Array, inner: int, *, whole: int = 0) -> Array:
    """`inner` sweeps f_k ← max(0, f_k + (c_k − F q_k) / q_kk): `f` (rows, r), `q` (r, r), `c` (rows, r) or (1, r).

    A column with q_kk ≤ 0 becomes 0 where c_k < 0 and stays as it is elsewhere.
    """
    if _compiled(inner * f.size * (4 + f.shape[1] / 8), len(f), whole, f, q, c):
        from nmfkit.kernels.cpu import sweeps

        return sweeps.hals(f, q, c, inner)
    if launch := _fused(f, q, c):
        from nmfkit.kernels.gpu import sweeps as on_gpu

        return on_gpu.hals(launch, f, q, c, inner)
    return reference.hals(f, q, c, inner)


def nnls(q: Array, c: Array, start: Array | None = None, *, whole: int = 0) -> Array:
    """The argmin over f ≥ 0 of ½ f q fᵀ − f cᵀ for each row of `c` (rows, r), in its dtype: `q` (r, r), q = qᵀ ⪰ 0.

    Exact, by block principal pivoting in float64 from the passive set of `start` (rows, r): Kim & Park, SIAM J. Sci.
    Comput. 33(6), 2011. Where q scaled to a unit diagonal has an eigenvalue below 1e-8, a ridge of 1e-8 around `start`
    (around 0 without one) is added and renewed twice around the minimiser found: of many minimisers, one nearby. A
    column with q_kk = 0 becomes 0 where c_k < 0 and stays as it is elsewhere.
    """
    if _compiled(SOLVE * c.size * (500 + c.shape[1] ** 2), len(c), whole, q, c):
        from nmfkit.kernels.cpu.pivoting import pivot as compiled_pivot

        return pivoting.nnls(q, c, start, compiled_pivot)
    if launch := _fused(q, c):
        from nmfkit.kernels.gpu import solve

        return pivoting.nnls(q, c, start, partial(solve.pivot, launch))
    return pivoting.nnls(q, c, start, pivoting.pivot)


def kl_split(x: Array, y: Array, *, whole: int = 0) -> float:
    """Σ x ln(x/ŷ) − x, with x/ŷ in the place of ŷ: `x`, `y` (rows, n), `y` overwritten.

    The value is infinite where x > 0 = ŷ; the ratios are those of ŷ kept above a floor.
    """
    if _compiled(LOG * x.size, len(x), whole, x, y):
        from nmfkit.kernels.cpu import dense

        return dense.kl_split(x, y)
    if launch := _fused(x, y):
        from nmfkit.kernels.gpu import dense as on_gpu

        return on_gpu.kl_split(launch, x, y)
    return reference.kl_split(x, y)


def beta_split(x: Array, y: Array, beta: float, pos: Array, neg: Array, *, whole: int = 0) -> float:
    """Σ d_β(x, ŷ), with ŷ^(β−1) in `pos` and x ŷ^(β−2) in `neg`: all (rows, n), `pos` may be `y`, β ∉ {1, 2}."""
    if _compiled(POWER * x.size, len(x), whole, x, y, pos, neg):
        from nmfkit.kernels.cpu import dense

        return dense.beta_split(x, y, beta, pos, neg)
    if launch := _fused(x, y, pos, neg):
        from nmfkit.kernels.gpu import dense as on_gpu

        return on_gpu.beta_split(launch, x, y, beta, pos, neg)
    return reference.beta_split(x, y, beta, pos, neg)


def power_root(high: Array, low: Array, high_power: float, low_power: float, reach: float) -> Array:
    """The t ≥ 0 with high t^(p−1) + low t^(q−1) = 0, at most e^reach: shapes that broadcast, `high_power` p > q.

    Where both rise it is 0, where both fall e^reach, and where there is nothing 1.
    """
    if launch := _rooting(high, low):
        from nmfkit.kernels.gpu import roots as on_gpu

        return on_gpu.power_root(launch, high, low, high_power, low_power, reach)
    return roots.power_root(high, low, high_power, low_power, reach)


def quadratic_root(a: Array, b: Array, c: Array, spacing: float, reach: float) -> Array:
    """The t ≥ 0 with a s² + b s + c = 0 and s = t^spacing, at most e^reach: shapes that broadcast, a ≥ 0 ≥ c."""
    if launch := _rooting(a, b, c):
        from nmfkit.kernels.gpu import roots as on_gpu

        return on_gpu.quadratic_root(launch, a, b, c, spacing, reach)
    return roots.quadratic_root(a, b, c, spacing, reach)


def tied_root(weight: Array, slope: Array, pull: Array, reach: float, *, whole: int = 0) -> Array:
    """The t ≥ 0 with slope − pull/t + weight ln t = 0, at most e^reach: shapes that broadcast, weight and pull ≥ 0."""
    if launch := _rooting(weight, slope, pull):
        from nmfkit.kernels.gpu import roots as on_gpu

        return on_gpu.tied_root(launch, weight, slope, pull, reach)
    weight, slope, pull = np.broadcast_arrays(weight, slope, pull)
    if _compiled(TIED * slope.size, len(slope), whole, weight, slope, pull):
        from nmfkit.kernels.cpu.tied import tied_root as compiled_root

        # None where an entry is out of its range.
        if (found := compiled_root(weight, slope, pull, reach)) is not None:
            return found
    return roots.tied_root(weight, slope, pull, reach)


def _rooting(*coefficients: Array) -> Launch | None:
    """Who launches kernels on coefficients (rows, r), or of one row, one column or one number."""
    return _fused(*coefficients) if all(c.ndim <= 2 for c in coefficients) else None


def totals(x: Array, *, whole: int = 0) -> tuple[Array, Array, float, int, float, float]:
    """Row sums, column sums, Σ x², number of entries other than 0, smallest, largest: `x` (rows, n), both > 0.

    In float64; a NaN anywhere makes both ends of the range NaN.
    """
    if _compiled(TOTALS * x.size, len(x), whole, x):
        from nmfkit.kernels.cpu.totals import totals as compiled_totals

        return compiled_totals(x)
    if launch := _fused(x):
        from nmfkit.kernels.gpu import dense

        return dense.totals(launch, x)
    return reference.totals(x)


def folded_scores(x: Array, mean: Array, inverse: Array, clip: float, y: Array, *, whole: int = 0) -> None:
    """`y` becomes [max(z, 0), max(−z, 0)], at most `clip`, with z = (x − mean) inverse.

    `x` (rows, n), `mean` and `inverse` (n,), `y` (rows, 2n) contiguous; `clip` may be infinite.
    """
    if x.dtype == y.dtype and _compiled(FOLD * x.size, len(x), whole, x, mean, inverse, y):
        from nmfkit.kernels.cpu import folding

        folding.folded_scores(x, mean, inverse, clip, y)
    elif x.dtype == y.dtype and (launch := _fused(x, mean, inverse, y)):
        from nmfkit.kernels.gpu import dense

        dense.folded_scores(launch, x, mean, inverse, clip, y)
    else:
        reference.folded_scores(x, mean, inverse, clip, y)


def kl_rows(
    values: Array,
    indices: Array,
    indptr: Array,
    w: Array,
    h: Array,
    left: bool,
    right: bool,
    *,
    whole: int = 0,
) -> tuple[float, Array | None, Array | None]:
    """Σ x ln(x/ŷ) − x, R hᵀ (rows, r) if `left`, Rᵀ w (n, r) if `right`: R = x/ŷ on the pattern of CSR x, ŷ = w h."""
    if _compiled(len(values) * (LOG + 2 * w.shape[1]), len(w), whole, values, indices, indptr, w, h):
        from nmfkit.kernels.cpu import sparse_kl

        return sparse_kl.kl_rows(values, indices, indptr, w, h, left, right)
    if launch := _fused(values, indices, indptr, w, h):
        from nmfkit.kernels.gpu import sparse

        return sparse.kl_rows(launch, values, indices, indptr, w, h, left, right)
    return reference.kl_rows(values, indices, indptr, w, h, left, right, csr_dot, csr_tdot)


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
    *,
    whole: int = 0,
) -> Array:
    """`inner` sweeps of coordinate steps for Σ x ln(x/ŷ) − x + ŷ + l1 w + ½ l2 w²: `w` (rows, r), `h` (r, n) fixed.

    `sums` (r,) are those of h's rows. No step raises a row's objective, and no entry ends below `floor`.
    """
    if _compiled(10 * inner * len(values) * w.shape[1], len(w), whole, values, indices, indptr, w, h):
        from nmfkit.kernels.cpu import coordinates

        return coordinates.scd_rows(values, indices, indptr, w, h, sums, inner, l1, l2, floor)
    if launch := _fused(values, indices, indptr, w, h):
        from nmfkit.kernels.gpu import coordinates as on_gpu

        return on_gpu.scd_rows(launch, values, indices, indptr, w, h, sums, inner, l1, l2, floor)
    return reference.scd_rows(values, indices, indptr, w, h, sums, inner, l1, l2, floor)


def symmetric_cd(values: Array, indices: Array, indptr: Array, h: Array, inner: int = 1) -> Array:
    """`inner` sweeps of exact steps in each entry of `h` (n, r) for ½ ‖A − h hᵀ‖², A (n, n) symmetric in CSR.

    One entry after the other, in float64; no step raises the objective. A may have negative entries. Vandaele, Gillis,
    Lei, Zhong & Dhillon, IEEE Trans. Signal Process. 64(21), 2016.
    """
    if _compiled(STEP * inner * h.size, len(h), 0, values, indices, indptr, h):
        from nmfkit.kernels.cpu import symmetric as compiled_symmetric

        return compiled_symmetric.symmetric_cd(values, indices, indptr, h, inner)
    if launch := _fused(values, indices, indptr, h):
        from nmfkit.kernels.gpu import symmetric as on_gpu

        return on_gpu.symmetric_cd(launch, values, indices, indptr, h, inner)
    return symmetric.symmetric_cd(values, indices, indptr, h, inner)
