"""A fit of a low-rank approximation of A, which gives the fit of A its start."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from nmfkit.blocks import Array
from nmfkit.probe import Probe
from nmfkit.protocols import Sweep
from nmfkit_plugins.symnmf.beginning import gram_of
from nmfkit_plugins.symnmf.pair import SymHALS, held_together
from nmfkit_plugins.symnmf.range_finder import Within, dominant_range, drawn, products
from nmfkit_plugins.symnmf.rules import Facts
from nmfkit_plugins.symnmf.worth import worth_it

SETTLED, STILL = 1e-3, 1e-5
"""Changes of a relative residual: of the range's at which power iterations end, of the fit's below which a sweep of
it is of no account.
"""
IN_A_ROW = 4
"""Sweeps of no account, one after the other, that end the fit of the approximation."""
COLUMNS = 3
"""Columns of the approximation for each component."""
PAYS = 4
"""A product with the approximation costs about half of one with rows of so many entries for each of its columns."""


@dataclass(frozen=True)
class LAI(SymHALS):
    """LAI-SymNMF (Hayashi, Aksoy, Ballard & Park, SIAM J. Matrix Anal. Appl. 46(1), 2025): `symhals` on Â, then on A.

    Â = U Λ Uᵀ has `width` columns, three for each component where that is 0; at most `power` + 2 products with A find
    it. Up to `warm` sweeps with it, which read nothing, come before those that are recorded; each of these is of A. It
    is for matrices that are dense or nearly so: where rows hold fewer than four entries for each column of Â, plain
    `symhals` runs, with a `Caution`, unless `always` is set. A graph that is far from low rank gains nothing.
    """

    width: int = 0
    power: int = 8
    warm: int = 200
    always: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 0 or self.power < 0 or self.warm < 1:
            raise ValueError(
                f"width and power must be at least 0 and warm at least 1, not {self.width}, {self.power}, {self.warm}"
            )

    def prepared(self, h: Array, sweep: Sweep, probe: Probe, seed: int) -> Array:
        """H (n, r) after the fit of the approximation, begun from `h`; `h` where that does not pay."""
        n, rank = h.shape
        width = min(n, max(rank, self.width or COLUMNS * rank))
        if not self.always and not worth_it("lai", probe.nonzero, n, PAYS * width):
            return h
        block, norm = drawn(n, width, seed, h.dtype), math.sqrt(probe.squares)
        within = dominant_range(products(sweep), block, norm, tol=SETTLED, passes=self.power + 2)
        return self._fitted(within, h, Facts(n, norm, probe.high, probe.low, float(np.max(np.abs(within.values)))))

    def _fitted(self, within: Within, h: Array, facts: Facts) -> Array:
        """V of the pair after the sweeps over Â."""
        lam, v, u = self.weight(facts, h), h, h
        drops: deque[float] = deque([math.inf] * IN_A_ROW, maxlen=IN_A_ROW)
        residual = math.inf
        for _ in range(self.warm):
            u, product = self._half(within, u, v, lam)
            before, residual = residual, _residual(within, u, v, product) / facts.norm
            v, _ = self._half(within, v, u, lam)
            drops.append(before - residual)
            if max(drops) < STILL:
                break
        return v

    def _half(self, within: Within, f: Array, other: Array, lam: float) -> tuple[Array, Array]:
        """One factor after a step from the other, and Â times the other."""
        product = (within.vectors * within.values) @ (within.vectors.T @ other)
        return self.update(f, *held_together(gram_of(other), product, other, lam)), product


def _residual(within: Within, u: Array, v: Array, product: Array) -> float:
    """‖Â − U Vᵀ‖, from Â V."""
    squares = float(np.sum(np.square(within.values, dtype=np.float64)))
    squares += float(np.sum(gram_of(u) * gram_of(v))) - 2 * float(np.sum(u * product, dtype=np.float64))
    return math.sqrt(max(0.0, squares))
