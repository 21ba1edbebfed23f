"""The volume that the columns of a factor span, by the logarithm of a determinant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nmfkit.blocks import Array
from nmfkit.gram import Gram
from nmfkit.surrogate import Surrogate

WEIGHTS = ("relative", "authors", "absolute")
ROUNDINGS = 4.0
"""An eigenvalue of FᵀF below so many roundings of its trace, for each column, is none: the columns are dependent."""
LEAST = 1e-9
"""A logarithm for each column below which δ hides F altogether."""


class _Split(NamedTuple):
    """FᵀF + δ I = S V L M L Vᵀ S: S and L diagonal of `scale` and `lengths` (r,), V = `basis` and M = `core` (r, r)."""

    scale: Array
    basis: Array
    lengths: Array
    core: Array


@dataclass(frozen=True)
class MinimumVolume:
    """λ ln det(FᵀF + δ I), the natural logarithm: half of it is that of the volume that F's columns span, softened.

    λ is `strength`. With `weight` "absolute" it stands as it is. "relative" multiplies it by what the loss at the
    start is of |ln det| there, so that λ is free of the data's scale: with λ = 1 both weigh the same. "authors" takes
    the loss without its weight and the logarithm to base 10, as Leplat, Hien, Onwunta & Gillis (Neural Computation
    36(11), 2024) do. Raises `ValueError` for a λ < 0, a δ ≤ 0, or another `weight`.

    Below δ a column's squares do not count. Where columns sum to 1 over many rows they are far below 1: δ = 1 then
    measures size, Σ f², and a δ of 1/1000 … 1/10 of the mean ‖f_k‖² volume. Columns that depend on each other are
    told from others to a rounding of FᵀF, so δ should not be below 1e-12 of the largest ‖f_k‖².

    Majorised after Leplat, Gillis & Ang, IEEE Trans. Signal Processing 68, 2020: with Y = (F̃ᵀF̃ + δ I)⁻¹ the concave
    logarithm lies below its tangent tr(Y FᵀF), a quadratic, and that below a sum over the entries.
    """

    strength: float
    delta: float = 1e-4
    weight: str = "relative"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise ValueError(f"the weight λ must be a finite number ≥ 0, not {self.strength!r}")
        if not (math.isfinite(self.delta) and self.delta > 0):
            raise ValueError(f"delta must be a finite number > 0, not {self.delta!r}")
        if self.weight not in WEIGHTS:
            raise ValueError(f"weight must be {', '.join(WEIGHTS[:-1])} or {WEIGHTS[-1]}, not {self.weight!r}")

    def stat(self, f: Array) -> Array:
        """FᵀF (r, r), in float64."""
        wide = f.astype(np.float64, copy=False)
        return wide.T @ wide

    def value(self, stat: Array) -> float:
        """λ ln det(FᵀF + δ I); the least that it can be is λ r ln δ, at F = 0."""
        if not bool(np.isfinite(np.sum(stat))):
            return math.inf  # which is what ends a fit that has left the range of its numbers
        return self.strength * (self._above(stat) + len(stat) * math.log(self.delta))

    def surrogate(self, f: Array, stat: Array) -> Surrogate:
        """{2: 2λ F̃ |Y|, 1: −4λ F̃ Y⁻} with Y⁻ = max(−Y, 0)."""
        y = self._inverse(stat).astype(f.dtype, copy=False)
        return {2.0: 2 * self.strength * (f @ np.abs(y)), 1.0: -4 * self.strength * (f @ np.maximum(-y, 0))}

    def quadratic(self, f: Array, stat: Array) -> Gram:
        """Q = 2λ Y, C = 0."""
        y = self._inverse(stat).astype(f.dtype, copy=False)
        return Gram(2 * self.strength * y, np.zeros_like(f, shape=(1, f.shape[1])))

    @property
    def relative(self) -> bool:
        """Whether λ is a part of the loss at the start."""
        return self.weight != "absolute"

    def factor(self, loss: float, unweighted: float, stat: Array) -> float:
        """What λ is multiplied by, from the loss at the start with and `unweighted` without its own weight.

        The loss over |ln det|; but over 1 for each column where that is less, unless it is δ that keeps it small: a
        logarithm that happens to be near 0 says nothing of what the volume can still lose.
        """
        if not self.relative:
            return 1.0
        rank = len(stat)
        room = self._above(stat)  # how far the logarithm can fall
        size = max(abs(room + rank * math.log(self.delta)), min(float(rank), room), LEAST * rank)
        part = loss if self.weight == "relative" else unweighted * math.log(10)
        return max(float(part), 0.0) / size  # a loss of nothing may round to less

    def _inverse(self, stat: Array) -> Array:
        """Y (r, r)."""
        split = self._split(stat)
        turned = split.basis / split.lengths / split.scale[:, None]
        y: Array = turned @ np.linalg.inv(split.core) @ turned.T
        return (y + y.T) / 2

    def _above(self, stat: Array) -> float:
        """The logarithm of the determinant over its least value, r ln δ."""
        if bool(np.all(np.diagonal(stat) <= self.delta)):  # near 0, where the digits of a determinant near 1 are lost
            return float(np.sum(np.log1p(np.maximum(np.linalg.eigvalsh(stat / self.delta), 0))))
        split = self._split(stat)
        sizes = np.square(split.lengths) * (np.square(split.scale) / self.delta)
        return float(np.linalg.slogdet(split.core)[1]) + float(np.sum(np.log(sizes)))

    def _split(self, stat: Array) -> _Split:
        """FᵀF + δ I so that no part of it is lost in the rounding of another.

        S makes columns of very different length alike. The eigenvalues of what remains of FᵀF are 0 where they cannot
        be told from it, and there δ alone counts: with D = δ S⁻² that is V D Vᵀ, in which columns that δ hides stand
        beside others whose D is tiny. So it is not added up before V is turned to its own axes, where these are apart.
        """
        squares = np.diagonal(stat)
        scale = np.sqrt(np.maximum(squares, self.delta))
        values, basis = np.linalg.eigh(stat / (scale[:, None] * scale))
        values, basis = np.flip(values), np.flip(basis, axis=1)
        least = ROUNDINGS * float(np.finfo(values.dtype).eps) * len(values)
        seen = np.sqrt(np.where(values > least, values, np.zeros_like(values)))
        halves = np.concatenate((np.diag(seen), basis * (math.sqrt(self.delta) / scale)[:, None]))
        turn = np.linalg.eigh(halves.T @ halves)[1]
        halves, basis = halves @ turn, basis @ turn
        lengths = np.sqrt(np.sum(np.square(halves), axis=0))
        halves = halves / lengths
        return _Split(scale, basis, lengths, halves.T @ halves)
