"""A product of two thin factors that is formed only where somebody asks."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from nmfkit import kernels
from nmfkit.blocks import CSR, Array, Block


class LowRank:
    """The matrix `u` (p, k) times `v` (k, q), never formed unless `form` or a dense `at` asks for it."""

    def __init__(self, u: Array, v: Array) -> None:
        self.u, self.v = u, v

    @property
    def shape(self) -> tuple[int, int]:
        """(p, q)."""
        return (self.u.shape[0], self.v.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the product."""
        return self.u.dtype

    @property
    def T(self) -> LowRank:
        """The transpose, vᵀ uᵀ."""
        return LowRank(self.v.T, self.u.T)

    @cached_property
    def _formed(self) -> Array:
        return self.u @ self.v

    def form(self) -> Array:
        """Every entry, (p, q); computed once."""
        return self._formed

    def at(self, x: Block) -> Array:
        """The entries where `x` stores one, in the shape of `x.values`: (p, q) for dense, (nnz,) for CSR."""
        if isinstance(x, CSR):
            return self._at_pattern(x)
        return self._formed

    def _at_pattern(self, x: CSR) -> Array:
        # A tile asks at one pattern twice: for the split and for the value.
        cached = self.__dict__.get("_sampled")
        if cached is None or cached[0] is not x.indices:
            cached = (x.indices, kernels.sampled_product(self.u, self.v, x.indices, x.indptr, whole=x.whole))
            self.__dict__["_sampled"] = cached
        sampled: Array = cached[1]
        return sampled

    def total(self) -> Any:
        """The sum of all entries, (1ᵀu)(v1), in float64, without dimensions: a number for whoever asks `float`."""
        column_sums = np.sum(self.u, axis=0, dtype=np.float64)
        row_sums = np.sum(self.v, axis=1, dtype=np.float64)
        return np.sum(column_sums * row_sums)

    def sum(self) -> float:
        """The sum of all entries."""
        return float(self.total())

    def sum_of_squares(self) -> float:
        """‖u v‖²_F = ⟨uᵀu, v vᵀ⟩, in float64, without the product."""
        u, v = self.u.astype(np.float64), self.v.astype(np.float64)
        return float(np.sum((u.T @ u) * (v @ v.T)))

    def sum_outside(self, x: Block) -> float:
        """The sum of the entries where `x` stores none, in float64; 0 for a dense block."""
        if not isinstance(x, CSR):
            return 0.0
        return self.sum() - float(np.sum(self.at(x), dtype=np.float64))

    def squares_outside(self, x: Block) -> float:
        """The sum of the squared entries where `x` stores none, in float64; 0 for a dense block."""
        if not isinstance(x, CSR):
            return 0.0
        return self.sum_of_squares() - float(np.sum(np.square(self.at(x)), dtype=np.float64))

    def ones(self) -> LowRank:
        """All ones in this shape, rank one."""
        return LowRank(np.ones_like(self.u[:, :1]), np.ones_like(self.v[:1]))

    def dot(self, b: Array) -> LowRank:
        """This (p, q) times `b` (q, r), kept as u (v b): (p, k) and (k, r)."""
        return LowRank(self.u, self.v @ b)

    def __add__(self, other: LowRank) -> LowRank:
        """The sum; with a common left factor (as all row blocks have) only the right ones are added."""
        if self.u is other.u or (self.u.shape == other.u.shape and bool(np.all(self.u == other.u))):
            return LowRank(self.u, self.v + other.v)
        return LowRank(np.concatenate((self.u, other.u), axis=1), np.concatenate((self.v, other.v)))

    def __reduce__(self) -> tuple[type[LowRank], tuple[Array, Array]]:
        return (LowRank, (self.u, self.v))


def formed(a: Array | LowRank) -> Array:
    """`a` itself, or the product that it stands for."""
    return a.form() if isinstance(a, LowRank) else a
