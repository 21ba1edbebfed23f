"""Hypothesis strategies: small nonnegative matrices of every awkward kind, factors, chunkings, shardings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nmfkit.blocks import CSR, Array, Block, Dense
from nmfkit.lowrank import LowRank

SIDE = 7
"""Largest number of rows or columns drawn, unless told otherwise."""
SCALES = (1.0, 1e-6, 1e6)
"""Magnitudes of whole matrices."""

sides = st.integers(1, SIDE)
ranks = st.integers(1, 4)
mild_entries = st.floats(0.5, 2.0)
repeated = st.sampled_from([1.0, 2.0, 0.5])
WIDTHS = (st.one_of(repeated, st.floats(0.1, 10.0)), st.one_of(repeated, st.floats(1e-3, 1e3)))
"""Entries of one array: of one size, for nothing to hide behind the largest, or of very different ones."""
multipliers = st.floats(-3, 3).map(np.exp)


def arrays(shape: tuple[int, ...], elements: st.SearchStrategy[float]) -> st.SearchStrategy[Array]:
    """Arrays of a shape, entries drawn one by one."""
    return hnp.arrays(np.float64, shape, elements=elements, fill=st.nothing())


def nonnegative(shape: tuple[int, ...], *, positive: bool = False) -> st.SearchStrategy[Array]:
    """Arrays of a shape with exact zeros and repeated entries; all > 0 if `positive`."""
    kinds = WIDTHS if positive else tuple(st.one_of(st.just(0.0), width) for width in WIDTHS)
    return st.one_of(*(arrays(shape, entries) for entries in kinds))


@st.composite
def matrices(
    draw: Callable[..., Any],
    *,
    shape: tuple[int, int] | None = None,
    positive: bool = False,
    dtype: Any = np.float64,
    scales: tuple[float, ...] = SCALES,
) -> Array:
    """Nonnegative matrices with exact zeros, repeated entries, zero rows and columns; all > 0 if `positive`."""
    m, n = shape or (draw(sides), draw(sides))
    x = draw(nonnegative((m, n), positive=positive))
    if not positive:
        x[draw(st.lists(st.integers(0, m - 1), max_size=1))] = 0
        x[:, draw(st.lists(st.integers(0, n - 1), max_size=1))] = 0
    scaled: Array = (x * draw(st.sampled_from(scales))).astype(dtype)
    return scaled


def with_something(x: Array) -> Array:
    """The matrix with one entry made positive if all are zero, for fits refuse to fit nothing."""
    return x if x.any() else np.where(np.arange(x.size).reshape(x.shape) == 0, np.ones_like(x), x)


@st.composite
def generic(draw: Callable[..., Any], *, least: int = 2, most: int = 9) -> Array:
    """Positive matrices without any structure: distinct singular values, no ties."""
    m, n = draw(st.integers(least, most)), draw(st.integers(least, most))
    x: Array = np.random.default_rng(draw(st.integers(0, 2**32))).gamma(2.0, size=(m, n))
    return x


def mirrored(x: Array) -> Array:
    """A symmetric matrix of the largest square of `x`: its sum with its transpose."""
    square = x[: min(x.shape), : min(x.shape)]
    return square + square.T


def sparse(x: Array, first: int = 0) -> CSR:
    """The CSR block of a dense matrix, zeros left out."""
    rows, columns = np.nonzero(x)
    indptr = np.searchsorted(rows, np.arange(len(x) + 1)).astype(np.int32)
    return CSR(x[rows, columns], columns.astype(np.int32), indptr, x.shape[1], first)


def patterned(x: Array, known: Array) -> CSR:
    """The CSR block that stores the entries that are `known`, zeros too."""
    rows, columns = np.nonzero(known)
    indptr = np.searchsorted(rows, np.arange(len(x) + 1)).astype(np.int32)
    return CSR(x[rows, columns], columns.astype(np.int32), indptr, x.shape[1])


def masks(shape: tuple[int, int]) -> st.SearchStrategy[Array]:
    """Masks of a shape, 1 where an entry is known and 0 where it is missing; whole rows may be missing, or all."""
    return arrays(shape, st.sampled_from([0.0, 1.0, 1.0]))


def blocks_of(x: Array) -> list[Block]:
    """The same matrix as a dense and as a CSR block."""
    return [Dense(x), sparse(x)]


@dataclass(frozen=True)
class Case:
    """Data `x` (m, n) and factors `w` (m, r), `h` (r, n) of its size."""

    x: Array
    w: Array
    h: Array

    @property
    def y(self) -> LowRank:
        """ŷ = W H."""
        return LowRank(self.w, self.h)

    def astype(self, dtype: Any) -> Case:
        """The same in another dtype."""
        return Case(self.x.astype(dtype), self.w.astype(dtype), self.h.astype(dtype))


@st.composite
def cases(draw: Callable[..., Any], *, positive: bool = False, smooth: bool = True) -> Case:
    """Data (all > 0 if `positive`) and factors at their scale, all > 0 if `smooth`, for derivatives to exist."""
    scale = draw(st.sampled_from(SCALES))
    x = scale * draw(matrices(positive=positive, scales=(1.0,)))
    r = draw(ranks)
    w = draw(nonnegative((len(x), r), positive=smooth)) * np.sqrt(scale)
    h = draw(nonnegative((r, x.shape[1]), positive=smooth)) * np.sqrt(scale)
    return Case(x, w, h)


@st.composite
def exact_fits(draw: Callable[..., Any]) -> Case:
    """Well-scaled positive factors and x = W H exactly as a product gives it."""
    m, n, r = draw(sides), draw(sides), draw(ranks)
    w, h = draw(arrays((m, r), mild_entries)), draw(arrays((r, n), mild_entries))
    return Case(w @ h, w, h)


@st.composite
def factors(draw: Callable[..., Any], *, positive: bool = False) -> Array:
    """Factors F (rows, r) as regularizers see them."""
    shape = (draw(sides), draw(ranks))
    f: Array = draw(st.sampled_from((1.0, 1e-3, 1e3))) * draw(nonnegative(shape, positive=positive))
    return f


def chunkings(m: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    """Every way to cut `m` rows into blocks."""
    cuts = st.sets(st.integers(1, m - 1)) if m > 1 else st.just(set())
    return cuts.map(lambda inside: _ranges([0, *sorted(inside), m]))


def shardings(blocks: int) -> st.SearchStrategy[tuple[range, ...]]:
    """Every way to give runs of blocks to threads."""
    return chunkings(blocks).map(lambda runs: tuple(range(a, b) for a, b in runs))


def _ranges(edges: list[int]) -> list[tuple[int, int]]:
    return list(pairwise(edges))


@st.composite
def chunked(draw: Callable[..., Any], drawn: st.SearchStrategy[Any]) -> tuple[Any, list[tuple[int, int]]]:
    """A case, matrix or factor with a chunking of its rows."""
    case = draw(drawn)
    return case, draw(chunkings(len(case.x if isinstance(case, Case) else case)))
