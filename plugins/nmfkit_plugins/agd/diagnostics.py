"""How correlated codes are, in the terms under which recovery is proven."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import UsageError
from nmfkit.stats import Least, add, widen

CHUNK = 65536
"""Rows of codes that are looked at together."""


class Moments(NamedTuple):
    """Additive statistics of codes (k, r): all that the correlation conditions need, and how sparse the codes are."""

    samples: float
    gram: Array
    sums: Array
    nonzero: float
    widest: Least
    """Minus the largest sum of a row."""
    largest: Least
    """Minus the largest entry."""

    @classmethod
    def of(cls, z: Array, samples: float) -> Moments:
        """Those of the codes `z` (k, r) ≥ 0, of which `samples` rows are samples and the others all zero."""
        return cls(
            samples=samples,
            gram=z.T @ z,
            sums=np.sum(z, axis=0),
            nonzero=float(np.count_nonzero(z)),
            widest=Least(-float(np.max(np.sum(z, axis=1)))),
            largest=Least(-float(np.max(z))),
        )

    def plain(self) -> dict[str, Any]:
        """The same in numbers and arrays only, as a shared state keeps them."""
        return {**self._asdict(), "widest": self.widest.value, "largest": self.largest.value}


class Correlation(NamedTuple):
    """The generalised correlation conditions of Li & Liang (ICML 2017) that codes satisfy, and their bound on m.

    For codes x with entries of at most 1 and Δ = E[x xᵀ], D components: ‖x‖₁ ≤ `r`; Δ_ii ≤ 2 `k` / D for all i;
    Δ_ij ≤ `m` / D² for all i ≠ j; Δ_ii ≥ `lam` `k` / D for all i. Recovery from a start that is near enough is proven
    for `m` up to a constant times `bound` = k D λ⁴ / r⁵. The constant is not known, and far beyond it the components
    are often found all the same: it compares data with each other.
    """

    r: float
    k: float
    m: float
    lam: float
    bound: float
    density: float
    """The part of the codes that is not zero."""


def correlation_of(moments: dict[str, Any]) -> Correlation:
    """The conditions from `Moments.plain`; raises `UsageError` where all codes are zero."""
    samples, largest = moments["samples"], -moments["largest"]
    if not (samples and largest > 0):
        raise UsageError("all codes are zero: there is no correlation to speak of")
    gram, d = moments["gram"] / (samples * largest**2), len(moments["gram"])
    own = np.diag(gram)
    r = -moments["widest"] / largest
    k = d * float(np.max(own)) / 2
    lam = d * float(np.min(own)) / k
    m = d**2 * float(np.max(gram - np.diag(own)))
    return Correlation(r, k, m, lam, k * d * lam**4 / r**5, moments["nonzero"] / (samples * d))


def correlation(w: Any) -> Correlation:
    """The conditions that the codes `w` (m, r) ≥ 0 satisfy once they are divided by the largest of them.

    `w` is an array, or what slices to one, as an array of a run that is not in memory. From a result of model `agd`,
    `correlation_of(result.state.following["moments"])` has the codes of its last stage without reading any. Raises
    `UsageError` for codes that are negative, not numbers, or all zero.
    """
    if len(np.shape(w)) != 2 or not np.size(w):
        raise UsageError(f"codes are a matrix with a row for each sample, and these have the shape {np.shape(w)}")
    total: Any = None
    for first in range(0, len(w), CHUNK):
        z = np.asarray(w[first : first + CHUNK], dtype=np.float64)
        if not float(z.min()) >= 0:
            raise UsageError(f"codes are nonnegative, and rows {first} to {first + len(z) - 1} hold one that is not")
        moments = Moments.of(z, float(len(z)))
        total = widen(moments) if total is None else add(total, moments)
    return correlation_of(total.plain())
