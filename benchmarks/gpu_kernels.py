"""Every kernel of the table: arguments of any size, how it is called, and what it means on the host in float64."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from gpu_clock import Row, seconds_of, told

from nmfkit import kernels
from nmfkit.kernels import pivoting, reference, roots, symmetric
from nmfkit.surrogate import REACH

SINGLE, DOUBLE = "float32", "float64"


@dataclass(frozen=True)
class Size:
    """Rows, columns and rank of what a kernel is given; `density` of a sparse matrix, whose `index` dtype is named."""

    rows: int
    n: int
    rank: int
    dtype: str = SINGLE
    density: float = 0.1
    index: str = "int32"


@dataclass(frozen=True)
class Case:
    """`make(rng, size)` gives host arguments; `run` takes them on any device, `exact` in float64 on the host.

    Both give every result, arguments that they overwrite too. `within` is what a result may be off, relative to its
    largest entry, or `entrywise` to each; `large` is a size that no cache holds.
    """

    make: Callable[..., tuple]
    run: Callable[..., tuple]
    exact: Callable[..., tuple]
    large: Size
    within: tuple[float, float] = (1e-6, 1e-12)
    entrywise: bool = False

    def bound(self, dtype: str) -> float:
        """What a result of arguments of this dtype may be off."""
        return self.within[dtype == DOUBLE]


def moved(arguments, results) -> int:
    """Bytes that a kernel cannot but read and write: every array once."""
    return sum(a.nbytes for a in (*arguments, *results) if hasattr(a, "nbytes") and a.ndim)


def widened(arguments) -> list[Any]:
    """Arguments with every array of floats in float64, as a copy."""
    return [a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in arguments]


# --- what they are given ------------------------------------------------------------------------------------------


def counts(rng, size, least=0):
    """Small whole numbers, zeros among them, and a positive fit of their size: both (rows, n)."""
    shape = (size.rows, size.n)
    x = rng.integers(least, 5 + least, shape, dtype=np.int8).astype(size.dtype)
    y = rng.random(shape, dtype=np.float32).astype(size.dtype)
    np.add(y, 0.5, out=y)
    return x, y


def pattern(rng, size):
    """Values, columns and row ends of a sparse matrix with frequent and rare columns, and some rows without entries."""
    each = max(1, round(size.density * size.n))
    places = (np.arange(each) + rng.random((size.rows, each), dtype=np.float32)) / each
    columns = np.minimum(size.n * places**3, size.n - 1).astype(size.index)
    kept = np.ones(columns.shape, bool)
    kept[:, 1:] = columns[:, 1:] != columns[:, :-1]
    kept[rng.random(size.rows) < 0.1] = False
    indptr = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(size.index)
    return rng.integers(0, 5, int(indptr[-1])).astype(size.dtype), columns[kept], indptr


def factors(rng, size):
    """W (rows, rank) and H (rank, n), all entries between 0.1 and 1.1."""
    shapes = ((size.rows, size.rank), (size.rank, size.n))
    return [(rng.random(shape, dtype=np.float32) + np.float32(0.1)).astype(size.dtype) for shape in shapes]


def quadratic(rng, size):
    """F (rows, rank) with zeros, Q (rank, rank) and C (rows, rank) of ½ f q fᵀ − f cᵀ."""
    a = rng.random((3 * size.rank + 2, size.rank))
    f = rng.random((size.rows, size.rank)) * (rng.random((size.rows, size.rank)) < 0.8)
    q = a.T @ a
    c = (rng.random((size.rows, size.rank)) * 1.5 - 0.2) @ q
    return f.astype(size.dtype), q, c.astype(size.dtype)


def slopes(rng, size):
    """Weight, slope and pull of a surrogate with a logarithm: all (rows, rank)."""
    shape = (size.rows, size.rank)
    weight, pull = np.exp(rng.normal(size=shape)), np.exp(3 * rng.normal(size=shape)) * (rng.random(shape) > 0.2)
    return tuple(a.astype(size.dtype) for a in (weight, rng.normal(size=shape) + 0.5, pull))


def powers(rng, size):
    """What rises and what falls in a surrogate of two powers: both (rows, rank)."""
    shape = (size.rows, size.rank)
    return tuple((sign * np.exp(2 * rng.normal(size=shape))).astype(size.dtype) for sign in (1, -1))


def parabola(rng, size):
    """Coefficients of a surrogate of three powers: all (rows, rank)."""
    high, low = powers(rng, size)
    return high, rng.normal(size=high.shape).astype(size.dtype), low


def graph(rng, size):
    """A symmetric matrix (rows, rows) in CSR and H (rows, rank)."""
    import scipy.sparse as sp

    a = sp.random_array((size.rows, size.rows), density=min(1.0, size.density), rng=rng, dtype=np.float64)
    a = sp.csr_array(a + a.T).astype(size.dtype)
    h = rng.random((size.rows, size.rank)).astype(size.dtype)
    return a.data, a.indices.astype(size.index), a.indptr.astype(size.index), h


# --- how they are called ------------------------------------------------------------------------------------------


def only(function):
    """A kernel of one result."""
    return lambda *arguments: (function(*arguments),)


def split(function):
    """`kl_split`, which overwrites the fit."""
    return lambda x, y: (function(x, y), y)


def halves(function, beta):
    """`beta_split` into new arrays."""

    def run(x, y):
        pos, neg = np.empty_like(y), np.empty_like(y)
        return function(x, y, beta, pos, neg), pos, neg

    return run


def folded(function, clip):
    """`folded_scores` into a new array."""

    def run(x, mean, inverse):
        y = np.empty_like(x, shape=(x.shape[0], 2 * x.shape[1]), order="C")
        function(x, mean, inverse, clip, y)
        return (y,)

    return run


def scored(rng, size):
    """Counts, and a mean and a scale of every column."""
    mean, inverse = rng.random((2, size.n)).astype(size.dtype)
    return counts(rng, size)[0], 4 * mean, inverse


def with_factor(rng, size, side):
    """A sparse matrix and what it is multiplied by: H turned, or W."""
    w, h = factors(rng, size)
    values, indices, indptr = pattern(rng, size)
    return values, indices, indptr, size.n, np.ascontiguousarray(h.T) if side == "right" else w


def with_factors(rng, size):
    return *pattern(rng, size), *factors(rng, size)


def sampled(rng, size):
    _, indices, indptr = pattern(rng, size)
    return *factors(rng, size), indices, indptr


def coordinates(rng, size):
    values, indices, indptr, w, h = with_factors(rng, size)
    return values, indices, indptr, w, h, h.sum(axis=1, dtype=np.float64)


def started(rng, size):
    f, q, c = quadratic(rng, size)
    return q, c, f


ENTRIES = Size(20_000, 10_000, 1)
STORED = Size(200_000, 20_000, 50, density=0.005)
ROWS = Size(1_000_000, 1, 32)

SPLITS = {
    f"beta_split {beta}": Case(
        partial(counts, least=int(beta <= 0)), halves(kernels.beta_split, beta), halves(reference.beta_split, beta),
        ENTRIES, entrywise=True,
    )
    for beta in (0.0, 0.5, 1.5, 3.0)
}  # fmt: skip

SIDES = {"left": (True, False), "right": (False, True), "both": (True, True)}

PASSES = {
    f"kl_rows {name}": Case(
        with_factors, lambda *a, s=sides: kernels.kl_rows(*a, *s), lambda *a, s=sides: reference.kl_rows(*a, *s), STORED
    )
    for name, sides in SIDES.items()
}

CASES: dict[str, Case] = {
    "kl_split": Case(counts, split(kernels.kl_split), split(reference.kl_split), ENTRIES, entrywise=True),
    **SPLITS,
    "totals": Case(lambda *a: counts(*a)[:1], kernels.totals, reference.totals, ENTRIES, (1e-12, 1e-12)),
    "folded_scores": Case(scored, folded(kernels.folded_scores, 1.5), folded(reference.folded_scores, 1.5), ENTRIES),
    "sampled_product": Case(sampled, only(kernels.sampled_product), only(reference.sampled_product), STORED),
    "csr_dot": Case(partial(with_factor, side="right"), only(kernels.csr_dot), only(reference.csr_dot), STORED),
    "csr_tdot": Case(partial(with_factor, side="left"), only(kernels.csr_tdot), only(reference.csr_tdot), STORED),
    "csr_dense": Case(
        lambda *a: with_factor(*a, "left")[:4], only(kernels.csr_dense), only(reference.csr_dense),
        Size(20_000, 20_000, 1, density=0.005),
    ),
    **PASSES,
    "scd_rows": Case(
        coordinates, only(lambda *a: kernels.scd_rows(*a, 1, 0.1, 0.1, 1e-9)),
        only(lambda *a: reference.scd_rows(*a, 1, 0.1, 0.1, 1e-9)), STORED, (2e-4, 1e-9),
    ),
    "hals": Case(
        quadratic, only(lambda *a: kernels.hals(*a, 2)), only(lambda *a: reference.hals(*a, 2)), ROWS, (2e-3, 1e-10)
    ),
    "nnls": Case(
        started, only(kernels.nnls), only(lambda q, c, f: pivoting.nnls(q, c, f, pivoting.pivot)),
        replace(ROWS, rows=200_000, rank=20), (1e-5, 1e-9),
    ),
    "power_root": Case(
        powers, only(lambda *a: kernels.power_root(*a, 1.0, -1.0, REACH)),
        only(lambda *a: roots.power_root(*a, 1.0, -1.0, REACH)), ROWS, (1e-5, 1e-12), entrywise=True,
    ),
    "quadratic_root": Case(
        parabola, only(lambda *a: kernels.quadratic_root(*a, 1.0, REACH)),
        only(lambda *a: roots.quadratic_root(*a, 1.0, REACH)), ROWS, (1e-4, 1e-12), entrywise=True,
    ),
    "tied_root": Case(
        slopes, only(lambda *a: kernels.tied_root(*a, REACH)), only(lambda *a: roots.tied_root(*a, REACH)), ROWS,
        (1e-6, 1e-10), entrywise=True,
    ),
    "symmetric_cd": Case(
        graph, only(kernels.symmetric_cd), only(lambda *a: symmetric.symmetric_cd(*a, 1)),
        # An entry is the root of a cubic, at worst as sure as the third root of the rounding.
        Size(2_000, 2_000, 20, density=0.01), (1e-4, 2e-5),
    ),
}  # fmt: skip
"""Kernels by their names in the table, which may be followed by an argument."""

ONE_AFTER_ANOTHER = ("symmetric_cd", "nnls")
"""Kernels whose plain form waits for the host at every step: it is not timed."""


def timed(gpu, name, dtype, bandwidth, shrunk=1.0) -> Row:
    """Seconds of the kernel at its large size, of what it must move, and of plain array operations for the same."""
    case, xp = CASES[name], gpu.xp
    large = case.large
    size = replace(large, dtype=dtype, rows=max(1, int(large.rows * shrunk)), n=max(1, int(large.n * shrunk)))
    host = case.make(np.random.default_rng(0), size)
    what = f"{name}, {size.rows:,} × {size.n if size.n > 1 else size.rank:,}"
    try:
        there = [xp.array(a) if isinstance(a, np.ndarray) else a for a in host]

        def fresh():
            return [a.copy() if hasattr(a, "nbytes") else a for a in there]

        amount = moved(there, case.run(*fresh()))
        seconds = seconds_of(gpu, lambda *a: case.run(*a), fresh)
        plain = None if name in ONE_AFTER_ANOTHER else seconds_of(gpu, lambda *a: case.exact(*a), fresh, repeats=1)
        return Row("kernel", what, dtype, seconds, amount, floor=amount / bandwidth, plain=plain)
    except Exception as error:  # one kernel that fails is told of, and the others are timed
        return told("kernel", what, error)
    finally:
        gpu.forget()
