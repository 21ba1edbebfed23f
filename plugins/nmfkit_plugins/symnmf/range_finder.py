"""Where a symmetric matrix is long: leading eigenpairs and an approximate range, by passes over its rows.

A pass multiplies A by a block of few columns, and every row of the product is brought together: that is all that is
asked of the data. The rest happens here, with bases of n rows and few columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.errors import UsageError
from nmfkit.protocols import Rows, Shared, Stats, Sweep
from nmfkit.stats import Gathered

Product: TypeAlias = Callable[[Array], Array]
"""A times an array (n, l): one pass over the rows."""

BLOCKS, KEPT = 5, 2
"""Blocks of columns that a basis may hold, and how many it is then cut down to."""

LOPSIDED = 1e-3
"""How far QᵀAQ may be from its transpose, to the size of A: above rounding, and far below one without symmetry."""

INSIDE = 0.5
"""A direction that is shorter than this outside a basis, to its length, is one of the basis and rounding."""


def products(sweep: Sweep) -> Product:
    """The product with the matrix that `sweep` goes through."""

    def product(v: Array) -> Array:
        _, stats = sweep(times_rows, None, {"v": v})
        whole: Array = stats["product"].whole()
        return whole

    return product


def times_rows(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """The block's rows of A V."""
    del rows
    return {}, {"product": Gathered.of(x.first, x.dot(shared["v"]))}


def drawn(n: int, width: int, seed: int, dtype: Any) -> Array:
    """Normal numbers (n, width), where a search begins."""
    return np.random.default_rng([seed, 4]).standard_normal((n, width)).astype(dtype)


# --- the largest eigenvalues --------------------------------------------------------------------------------


class Eigenpairs(NamedTuple):
    """The largest eigenvalues (k,), falling, their vectors (n, k), and the passes that they took."""

    values: Array
    vectors: Array
    passes: int


def leading_eigenpairs(product: Product, block: Array, count: int, *, tol: float, passes: int) -> Eigenpairs:
    """The `count` largest eigenvalues of a symmetric A, of whatever sign, from the block (n, l) on, l ≥ count.

    Block Lanczos with full orthogonalisation and thick restarts (Golub & Underwood, Mathematical Software III, 1977;
    Wu & Simon, SIAM J. Matrix Anal. Appl. 22(2), 2000). As these are the largest Ritz values of a Krylov space, those
    at the other end, far from zero as they may be, cannot stand in their place. It ends when each wanted pair has a
    residual ‖A v − θ v‖ of at most `tol` times the largest |θ|, when the space is all that A reaches from the block,
    or after so many `passes`.
    """
    space = _Space(block)
    for done in range(1, passes + 1):
        off = space.extend(product, count)
        if done == passes or space.closed or off <= tol * space.reach:
            break
        space.make_room()
    return Eigenpairs(space.values[:count], space.vectors(count), done)


class _Space:
    """A Krylov space: an orthonormal basis Q (n, k) of it, QᵀAQ, and the block by which it grows next."""

    def __init__(self, block: Array) -> None:
        n, width = block.shape
        self._room = np.zeros_like(block, shape=(n, min(BLOCKS * width, n + width)), order="F")
        self._inner = np.zeros_like(block, shape=(0, 0))
        self._kept = KEPT * width
        self._block, _ = orthonormal(block)
        self.values = self._turn = np.zeros_like(block, shape=(0,))

    @property
    def closed(self) -> bool:
        """Whether A leads nowhere else."""
        return int(self._block.shape[1]) == 0

    @property
    def reach(self) -> float:
        """The largest |Ritz value|."""
        return float(np.max(np.abs(self.values)))

    def extend(self, product: Product, count: int) -> float:
        """Take in the next block by one product; the largest residual of the `count` leading pairs."""
        width, before = self._block.shape[1], len(self._inner)
        basis = self._room[:, : before + width]
        basis[:, before:] = self._block
        rest = product(self._block).astype(basis.dtype, copy=False)
        self._block, weights, column = outside(rest, basis, self._rounding(rest))
        off, new = column[:before], column[before:]
        refuse_lopsided(new, self.reach if before else 0.0)
        self._inner = np.block([[self._inner, off], [off.T, (new + new.T) / 2]])
        values, turn = np.linalg.eigh(self._inner)
        self.values, self._turn = values[::-1], turn[:, ::-1]
        return float(np.max(np.linalg.norm(weights @ self._turn[before:, :count], axis=0)))

    def _rounding(self, image: Array) -> float:
        """How long a part of a product with A outside the basis may be by rounding alone."""
        size = max(float(np.linalg.norm(image)), self.reach if len(self.values) else 0.0)
        return size * float(np.finfo(image.dtype).eps) * math.sqrt(len(image))

    def make_room(self) -> None:
        """Keep the span of the leading Ritz vectors only, where the next block would not fit."""
        held = len(self._inner)
        if held + self._block.shape[1] > self._room.shape[1]:
            kept = min(self._kept, held)
            self._room[:, :kept] = self.vectors(kept)
            self._inner = np.diag(self.values[:kept])

    def vectors(self, count: int) -> Array:
        """The leading Ritz vectors (n, count)."""
        found: Array = self._room[:, : len(self._inner)] @ self._turn[:, :count]
        return found


def refuse_lopsided(quotient: Array, size: float = 0.0) -> None:
    """Raise `UsageError` where QᵀAQ (l, l) is not its own transpose, so that A is not.

    `size` is what is known of the size of A elsewhere: where Q has none but its smallest eigenvalues, rounding is all
    that QᵀAQ is.
    """
    if float(np.linalg.norm(quotient - quotient.T)) > LOPSIDED * max(size, float(np.linalg.norm(quotient))):
        raise UsageError(
            "the matrix is square and not symmetric, and eigenvectors are asked for: use another starting point, as "
            "--init nndsvda, or make it symmetric first"
        )


def orthonormal(v: Array, least: float = 0.0) -> tuple[Array, Array]:
    """Q (n, k) and R (k, l) with v = Q R and QᵀQ = I, less the directions in which v is at most `least` long."""
    q, r = np.linalg.qr(v)
    left, sizes, right = np.linalg.svd(r)
    kept = sizes > max(least, float(np.finfo(v.dtype).tiny))
    return q @ left[:, kept], (sizes[:, None] * right)[kept]


def outside(v: Array, basis: Array, least: float) -> tuple[Array, Array, Array]:
    """Q (n, j), R (j, l) and C (k, l) with v = Q R + basis C and Q orthogonal to the orthonormal basis (n, k).

    Directions at most `least` long are left out. One that is little more than rounding leans on the basis: what is left
    is made orthogonal to it once more, when all are of length 1.
    """
    inside = basis.T @ v
    q, r = orthonormal(v - basis @ inside, least)
    along = basis.T @ q
    q -= basis @ along
    q, turn = orthonormal(q, INSIDE)
    return q, turn @ r, inside + along @ r


# --- the range ----------------------------------------------------------------------------------------------


class Within(NamedTuple):
    """Â = Q (QᵀAQ) Qᵀ = U Λ Uᵀ for a basis Q of few columns: `vectors` U (n, l), `values` Λ (l,).

    `error` is ‖A − A Q Qᵀ‖ / ‖A‖, found in so many `passes`.
    """

    vectors: Array
    values: Array
    error: float
    passes: int


def dominant_range(product: Product, block: Array, norm: float, *, tol: float, passes: int) -> Within:
    """A symmetric A of Frobenius norm `norm` within the directions in which it is long, from the block (n, l).

    Power iterations on A, each with a new orthonormal basis, until the error falls by less than `tol`, or after
    `passes` products: Hayashi, Aksoy, Ballard & Park, SIAM J. Matrix Anal. Appl. 46(1), 2025, after Halko, Martinsson
    & Tropp, SIAM Review 53(2), 2011. A block of n columns spans everything, which takes one.
    """
    n, width = block.shape
    full, error = width >= n, math.inf
    basis, _ = orthonormal(block if full else product(block))
    for done in range(1 if full else 2, max(passes, 2) + 1):
        image = product(basis)
        before, error = error, _left(image, norm)
        if full or before - error < tol or done >= passes:
            break
        basis, _ = orthonormal(image)
    inner = basis.T @ image
    refuse_lopsided(inner)
    values, turn = np.linalg.eigh((inner + inner.T) / 2)
    return Within(basis @ turn, values, error, done)


def _left(image: Array, norm: float) -> float:
    """√(‖A‖² − ‖A Q‖²) / ‖A‖."""
    return math.sqrt(max(0.0, 1 - float(np.sum(np.square(image, dtype=np.float64))) / norm**2))
