"""One block of an unrolled network for A ≈ U Uᵀ, on some rows: forward, and backward by hand.

A block maps V (n, r) to U = ReLU(P R − 1 θᵀ), where Q = V (VᵀV + λI)⁻¹ and P = (a A + b I) Q, or P = W Q. Its bounded
inverse makes it stable: ‖Q‖₂ ≤ 1 / (2 √λ), whatever V. A is symmetric, so the gradient needs A times a tall matrix
again, and what is to be summed over rows is (r, r): with P̄ the gradient by P, Qᵀ Q̄ = PᵀP̄ needs no further product.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nmfkit.blocks import Array, Block


class Layer(NamedTuple):
    """What one block has learnt: λ > 0, then a and b, or `weights` W (n, n) in their place; R (r, r) and θ (r,)."""

    lam: float
    a: float = 1.0
    b: float = 0.0
    mix: Array | None = None
    theta: Array | None = None
    weights: Array | None = None


def identity(rank: int, like: Array) -> Array:
    """I (r, r), in the dtype of `like`."""
    at = np.arange(rank, like=like)
    found: Array = (at[:, None] == at).astype(like.dtype)
    return found


def inverse(gram: Array, lam: float) -> Array:
    """(VᵀV + λI)⁻¹ (r, r), from `gram` = VᵀV."""
    found: Array = np.linalg.inv(gram + lam * identity(len(gram), gram))
    return (found + found.T) / 2


def crossed(a: Array, b: Array) -> Array:
    """aᵀ b (r, r) in float64, of rows of two tall matrices."""
    found: Array = a.astype(np.float64).T @ b.astype(np.float64)
    return found


def inner(a: Array, b: Array) -> float:
    """⟨a, b⟩ in float64."""
    return float(np.sum(a.astype(np.float64) * b.astype(np.float64)))


def product(x: Block, q: Array, layer: Layer, scale: float) -> Array:
    """The rows of A Q / `scale` that `x` holds, or those of W Q; `q` (n, r) is whole."""
    if layer.weights is not None:
        return layer.weights[x.first : x.first + x.shape[0]] @ q
    return x.dot(q) / scale


def linear(made: Array, q: Array, layer: Layer) -> Array:
    """Rows of P, from those `made` by `product` and those of Q."""
    return made if layer.weights is not None else layer.a * made + layer.b * q


def output(p: Array, layer: Layer) -> Array:
    """Rows of U, from those of P."""
    z = p if layer.mix is None else p @ layer.mix
    if layer.theta is not None:
        z = z - layer.theta
    return np.maximum(z, 0)


def pulled(bar: Array, u: Array, made: Array, q: Array, layer: Layer) -> tuple[Array, dict[str, Any]]:
    """Rows of P̄ from those of Ū (`bar`), U, `product` and Q, all (k, r), and what the gradients need summed.

    The sums: "p" = PᵀP̄ and "mix" = PᵀZ̄ (r, r), "theta" = −Z̄ᵀ1 (r,), "a" = ⟨A Q, P̄⟩, "b" = ⟨Q, P̄⟩.
    """
    z_bar = np.where(u > 0, bar, 0.0).astype(bar.dtype)
    p_bar = z_bar if layer.mix is None else z_bar @ layer.mix.T
    p = linear(made, q, layer)
    sums = {
        "p": crossed(p, p_bar),
        "mix": crossed(p, z_bar),
        "theta": -np.sum(z_bar, axis=0, dtype=np.float64),
        "a": inner(made, p_bar),
        "b": inner(q, p_bar),
    }
    return p_bar, sums


def turned(x: Block, p_bar: Array, layer: Layer, scale: float) -> Array:
    """The rows of Q̄ = (a A + b I) P̄, or of Wᵀ P̄, that `x` holds; `p_bar` (n, r) is whole."""
    lo, hi = x.first, x.first + x.shape[0]
    if layer.weights is not None:
        return layer.weights[:, lo:hi].T @ p_bar
    return layer.a * (x.dot(p_bar) / scale) + layer.b * p_bar[lo:hi]


def through_inverse(q_bar: Array, v: Array, inverted: Array, p_sum: Array) -> Array:
    """Rows of V̄ = Q̄ G⁻¹ − V (S + Sᵀ), where S = (QᵀQ̄) G⁻¹ = (PᵀP̄) G⁻¹ and G⁻¹ is `inverted`."""
    s = p_sum @ inverted
    both = (s + s.T).astype(v.dtype)
    found: Array = q_bar @ inverted.astype(v.dtype) - v @ both
    return found


def seed(u: Array, au: Array, gram: Array, squares: float) -> Array:
    """Rows of the gradient (U UᵀU − A U) / ‖A‖² of ¼ ‖A − U Uᵀ‖² / ‖A‖², from rows of U and A U."""
    found: Array = (u @ gram.astype(u.dtype) - au) / squares
    return found


def fit_loss(cross: float, gram: Array, squares: float) -> float:
    """¼ ‖A − U Uᵀ‖² / ‖A‖², from ⟨U, A U⟩, UᵀU and ‖A‖²."""
    return (squares - 2 * cross + float(np.sum(gram * gram))) / (4 * squares)
