"""The β-divergences d_β(x, ŷ) for every real β, with exact values at zeros.

β = 2: ½ (x − ŷ)²; β = 1: x ln(x/ŷ) − x + ŷ; β = 0: x/ŷ − ln(x/ŷ) − 1; else
(x^β + (β − 1) ŷ^β − β x ŷ^(β−1)) / (β (β − 1)). Surrogates after Févotte & Idier, Neural Computation 23(9), 2011,
eqs. 3.9–3.12: the convex part by Jensen's inequality, the concave part by its tangent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nmfkit import kernels
from nmfkit.blocks import CSR, Array, Block, Dense, Linear
from nmfkit.kernels.reference import beta_terms, kl_terms, kl_value, power
from nmfkit.lowrank import LowRank
from nmfkit.protocols import Halves, Pulled, Pulls, Split
from nmfkit.surrogate import LOG, Surrogate
from nmfkit.weighed import Weighed


def beta_divergence(beta: float) -> Frobenius | KullbackLeibler | BetaDivergence:
    """The β-divergence; β = 2 and β = 1 are classes of their own, since they can do more."""
    if not math.isfinite(beta):
        raise ValueError("beta must be a finite number")
    if beta == 2:
        return Frobenius()
    return KullbackLeibler() if beta == 1 else BetaDivergence(float(beta))


@dataclass(frozen=True)
class Frobenius:
    """Half the squared error, ½ Σ (x − ŷ)² (β = 2); quadratic in each factor."""

    @property
    def needs_positive(self) -> bool:
        """False: zeros are fine."""
        return False

    @property
    def pattern_only(self) -> bool:
        """True: ‖ŷ‖² comes from the factors' Gram matrices."""
        return True

    def value(self, x: Block, y: LowRank) -> float:
        """½ Σ (x − ŷ)² over stored entries, plus ½ ŷ² over the rest."""
        residual = x.values - y.at(x)
        return 0.5 * float(np.sum(np.square(residual), dtype=np.float64)) + 0.5 * y.squares_outside(x)

    def split(self, x: Block, y: LowRank) -> Split:
        """pos = ŷ, neg = x; neither is formed."""
        return Split(y, x)

    def surrogate(self, halves: Halves) -> Surrogate:
        """{2: pos, 1: −neg}."""
        return {2.0: halves.pos, 1.0: -halves.neg}

    def terms(self, x: Array, y: Array) -> Array:
        """½ (x − ŷ)²."""
        terms: Array = np.square(x - y) / 2
        return terms

    def pulled_weighed(self, x: Weighed, y: LowRank, *, left: bool, right: bool) -> Pulls | None:
        """Value and halves from one ŷ; None where entries count that x does not store."""
        if not isinstance(x.x, Dense) and x.elsewhere:
            return None
        at = y.at(x.x)
        weights, values = x.weights, x.values if x.binary else x.values * x.weights
        residual = at - x.values
        value = 0.5 * float(np.sum(np.square(residual) * weights, dtype=np.float64))
        return pulled_halves(value, x.x.like(at * weights), x.x.like(values), y, left=left, right=right)

    def data_surrogate(self, x: Array, y: Array) -> Surrogate:
        """{2: x, 1: −y}: itself."""
        return {2.0: x, 1.0: -y}

    def gram(self, other: Array) -> Array:
        """Q = otherᵀ other."""
        return other.T @ other

    def cross(self, x: Linear, other: Array) -> Array:
        """C = x other."""
        return x.dot(other)

    def offset(self, x: Block) -> float:
        """½ Σ x², the value at ŷ = 0."""
        if isinstance(x, Dense) and x.values.size:
            return 0.5 * float(kernels.totals(x.values, whole=x.whole)[2])
        return 0.5 * float(np.sum(np.square(x.values, dtype=np.float64)))


@dataclass(frozen=True)
class KullbackLeibler:
    """The generalised Kullback–Leibler divergence, Σ x ln(x/ŷ) − x + ŷ (β = 1)."""

    @property
    def needs_positive(self) -> bool:
        """False: 0 ln 0 = 0."""
        return False

    @property
    def pattern_only(self) -> bool:
        """True: where x = 0 only Σ ŷ counts, which the factors' sums give."""
        return True

    def value(self, x: Block, y: LowRank) -> float:
        """Σ x ln(x/ŷ) − x over stored entries, plus the sum of all ŷ, which the factors' sums give."""
        return kl_value(x.values, y.at(x)) + y.sum()

    def pulled(self, x: Block, y: LowRank, *, left: bool, right: bool) -> Pulls:
        """Value and halves in one pass; ŷ is formed tile by tile, or entry by entry on x's pattern."""
        value, neg_w, neg_h = self._negative(x, y, left, right)
        # All rows of W are pulled alike; what H is pulled by adds up over blocks, so it keeps its form.
        return Pulls(
            value + y.total(),
            None if neg_w is None else Pulled(np.sum(y.v, axis=1)[None, :], neg_w),
            None if neg_h is None else Pulled(y.ones().T.dot(y.u), neg_h),
        )

    def _negative(self, x: Block, y: LowRank, left: bool, right: bool) -> tuple[float, Array | None, Array | None]:
        """The value without Σ ŷ, and x / ŷ carried back to W and to Hᵀ."""
        if isinstance(x, CSR):
            return kernels.kl_rows(x.values, x.indices, x.indptr, y.u, y.v, left, right, whole=x.whole)
        ratio = y.u @ y.v
        value = kernels.kl_split(x.values, ratio, whole=x.whole)
        return value, ratio @ y.v.T if left else None, ratio.T @ y.u if right else None

    def split(self, x: Block, y: LowRank) -> Split:
        """pos = 1 (never formed), neg = x / ŷ on x's pattern."""
        ratio = _above_zero(y.at(x), 1.0)
        return Split(y.ones(), x.like(np.divide(x.values, ratio, out=ratio)))

    def surrogate(self, halves: Halves) -> Surrogate:
        """{1: pos, 0: −neg}."""
        return {1.0: halves.pos, 0.0: -halves.neg}

    def pulled_weighed(self, x: Weighed, y: LowRank, *, left: bool, right: bool) -> Pulls:
        """The same with ω x for x, since d is homogeneous; Σ ω ŷ comes with what pulls the other way, ω Hᵀ or ωᵀ W."""
        values = x.values if x.binary else x.values * x.weights
        value, neg_w, neg_h = self._negative(x.x.like(values), y, left, right)
        pos_w = x.weigh(y.v.T) if left or not right else None
        pos_h = x.weigh(y.u, turned=True) if right else None
        sums = pos_h * y.v.T if pos_w is None else pos_w * y.u
        value += float(np.sum(sums, dtype=np.float64))
        if not x.binary:
            logs = np.log(np.where(values > 0, x.weights, np.ones_like(values)))
            value -= float(np.sum(values * logs, dtype=np.float64))
        return Pulls(
            value,
            None if neg_w is None or pos_w is None else Pulled(pos_w, neg_w),
            None if neg_h is None or pos_h is None else Pulled(pos_h, neg_h),
        )

    def positive(self, y: LowRank) -> LowRank:
        """1 everywhere, whatever ŷ."""
        return y.ones()

    def data_surrogate(self, x: Array, y: Array) -> Surrogate:
        """{LOG: 1, 1: ln(x/y)}: itself, since ∂d/∂x = ln(x/y)."""
        return {LOG: np.ones_like(x), 1.0: np.log(x / y)}

    def terms(self, x: Array, y: Array) -> Array:
        """x ln(x/ŷ) − x + ŷ."""
        terms = kl_terms(x, y) + y
        return np.where(x == 0, y, terms)


@dataclass(frozen=True)
class BetaDivergence:
    """d_β for β other than 1 and 2; needs every entry of ŷ, on sparse X, too."""

    beta: float

    @property
    def needs_positive(self) -> bool:
        """True for β ≤ 0, where d(0, ŷ) is infinite."""
        return self.beta <= 0

    @property
    def pattern_only(self) -> bool:
        """False: ŷ^(β−1) is needed everywhere."""
        return False

    def value(self, x: Block, y: LowRank) -> float:
        """Σ d_β(x, ŷ) over every entry."""
        v, at = x.dense(), y.form()
        return float(np.sum(beta_terms(v, at, self.beta), dtype=np.float64))

    def pulled(self, x: Block, y: LowRank, *, left: bool, right: bool) -> Pulls | None:
        """Value and halves in one pass over a dense tile; None for a sparse one."""
        if not isinstance(x, Dense):
            return None
        pos = y.u @ y.v
        neg = np.empty_like(pos)
        value = kernels.beta_split(x.values, pos, self.beta, pos, neg, whole=x.whole)
        return pulled_halves(value, Dense(pos), Dense(neg), y, left=left, right=right)

    def pulled_weighed(self, x: Weighed, y: LowRank, *, left: bool, right: bool) -> Pulls | None:
        """Value and halves in one pass over a dense tile whose entries are there or missing; None for any other."""
        if not (isinstance(x.x, Dense) and x.binary):
            return None
        # d(0, 0) = 0 where the entry is missing, exactly, as d(ŷ, ŷ) is not.
        pos = (y.u @ y.v) * x.weights
        neg = np.empty_like(pos)
        value = kernels.beta_split(x.values, pos, self.beta, pos, neg, whole=x.whole)
        return pulled_halves(value, Dense(pos * x.weights), Dense(neg * x.weights), y, left=left, right=right)

    def split(self, x: Block, y: LowRank) -> Split:
        """pos = ŷ^(β−1) everywhere, neg = x ŷ^(β−2) on x's pattern."""
        at = _above_zero(y.form(), max(2 - self.beta, 1.0))  # it is divided by, whatever β
        pos = power(at, self.beta - 1)
        if x.values.shape == at.shape:
            return Split(Dense(pos), x.like(x.values * pos / at))
        stored = _above_zero(y.at(x), 2 - self.beta)
        return Split(Dense(pos), x.like(x.values * power(stored, self.beta - 2)))

    def surrogate(self, halves: Halves) -> Surrogate:
        """{max(β, 1): pos, min(β − 1, 1): −neg}."""
        return {max(self.beta, 1.0): halves.pos, min(self.beta - 1, 1.0): -halves.neg}

    def data_surrogate(self, x: Array, y: Array) -> Surrogate:
        """{β: x^(β−1) / (β−1), 1: −y^(β−1) / (β−1)}: itself, convex in x for every β."""
        slope = self.beta - 1
        return {self.beta: power(x, slope) / slope, 1.0: -power(y, slope) / slope}

    def terms(self, x: Array, y: Array) -> Array:
        """d_β(x, ŷ)."""
        return beta_terms(x, y, self.beta)

    def eager(self, halves: Halves) -> Surrogate:
        """{1: pos, 0: −neg}: t = neg / pos, without the root that majorising takes of it (Févotte & Idier, sec. 4)."""
        return {1.0: halves.pos, 0.0: -halves.neg}


def pulled_halves(value: float, pos: Block, neg: Block, y: LowRank, *, left: bool, right: bool) -> Pulls:
    """Both halves carried back to W and to Hᵀ, as far as they are asked for."""
    return Pulls(
        value,
        Pulled(pos.dot(y.v.T), neg.dot(y.v.T)) if left else None,
        Pulled(pos.tdot(y.u), neg.tdot(y.u)) if right else None,
    )


def _above_zero(y: Array, exponent: float) -> Array:
    """ŷ kept where ŷ^−exponent is finite: an underflowed ŷ must not turn 0 · ∞ into NaN."""
    if exponent <= 0:
        return y
    info = np.finfo(y.dtype)
    least = max(float(info.tiny), float(info.max) ** (-0.9 / max(exponent, 1.0)))
    kept: Array = np.maximum(y, least)
    return kept
