"""Decoding: codes of samples by the pseudo-inverse of the components, and the threshold below which they are noise."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nmfkit.blocks import Array, Block

WELL = 1e-6
"""Least ratio of the eigenvalues of H Hᵀ at which solving with it is accurate enough: ten digits of the codes."""
CUT = {"float32": 1e-5, "float64": 1e-10}
"""Singular values of H below this fraction of the largest are taken for rounding."""


class Decoder(NamedTuple):
    """Components and what decoding with them needs, computed once a stage.

    `h` (r, n) has rows of length 1, or 0; `p` (n, r) is its pseudo-inverse, `g` (r, r) = H Hᵀ in float64. `spread` is
    the standard deviation of the codes of pure noise of variance 1: the root of the mean diagonal entry of (H Hᵀ)⁻¹.
    """

    h: Array
    p: Array
    g: Array
    spread: float

    @classmethod
    def of(cls, h: Array) -> Decoder:
        """That of the components `h` (r, n)."""
        wide = h.astype(np.float64, copy=False)
        g = wide @ wide.T
        p = pseudo_inverse(wide, g, CUT[np.dtype(h.dtype).name])
        return cls(h, p.astype(h.dtype), g, float(np.sqrt(np.mean(np.sum(p * p, axis=0)))))

    @classmethod
    def held(cls, shared: dict[str, Any]) -> Decoder:
        """The one that a shared state holds."""
        return cls(shared["h"], shared["p"], shared["g"], shared["spread"])

    def decoded(self, x: Block) -> Array:
        """V = X H⁺ (rows, r) of a block, in float64: the least-squares codes, of either sign."""
        return x.dot(self.p).astype(np.float64, copy=False)

    def cross(self, v: Array) -> Array:
        """X Hᵀ (rows, r) without another product with X: it is V H Hᵀ."""
        return v @ self.g

    def above(self, f: Array, cross: Array) -> float:
        """½ ‖X − F H‖² − ½ ‖X‖² of the codes `f` (rows, r)."""
        return float(0.5 * np.sum((f @ self.g) * f) - np.sum(f * cross))

    def residuals(self, f: Array, cross: Array, squares: Array) -> Array:
        """‖x − f H‖² (rows,) of each sample, whose own squares are `squares` (rows,)."""
        left: Array = squares + np.sum((f @ self.g - 2 * cross) * f, axis=1)
        return np.maximum(left, 0)


def pseudo_inverse(h: Array, g: Array, cut: float) -> Array:
    """H⁺ (n, r) of `h` (r, n), with `g` = H Hᵀ: by solving with `g` where it is far from singular.

    The Gram matrix has the square of the condition number of H, and half the digits go with it; otherwise the singular
    values of H are looked at themselves.
    """
    eigenvalues = np.linalg.eigvalsh(g)
    if float(eigenvalues[0]) > WELL * float(eigenvalues[-1]):
        solved: Array = np.linalg.solve(g, h).T
        return solved
    inverse: Array = np.linalg.pinv(h, cut)
    return inverse


def thresholded(v: Array, alpha: float) -> Array:
    """Codes `v` that reach `alpha`, and 0 for the others: what is kept is not made smaller.

    A soft threshold, max(v − α, 0), would bias the codes that are kept, and the components are not recovered with it.
    """
    kept: Array = np.where(v >= alpha, v, 0)
    return kept


def normalized(h: Array) -> tuple[Array, Array]:
    """Components (r, n) of length 1 in float64, and the lengths they had (r, 1); those that are all zero stay so."""
    wide = h.astype(np.float64, copy=False)
    lengths = np.sqrt(np.sum(wide * wide, axis=1, keepdims=True))
    return wide / np.where(lengths > 0, lengths, 1), lengths


def squares_of(x: Block) -> Array:
    """‖x‖² (rows,) of each sample of a block, in float64."""
    squared = x.like(np.square(x.values, dtype=np.float64))
    return squared.dot(np.ones_like(x.values, shape=(x.shape[1], 1), dtype=np.float64))[:, 0]
