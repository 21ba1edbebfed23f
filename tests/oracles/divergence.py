"""The β-divergences by the textbook, their derivative, and what majorises them in one factor.

Leplat, Hien, Onwunta & Gillis, Deep nonnegative matrix factorization with beta divergences, Neural Computation 36(11),
2024; Févotte & Idier, Neural Computation 23(9), 2011.
"""

from __future__ import annotations

import numpy as np

BETAS = (-0.5, 0, 0.5, 1, 1.5, 2, 3)


def entries(x, y, beta):
    """d_β(x, y), entry by entry; 0 ln 0 = 0."""
    if beta == 1:
        return np.where(x > 0, x * np.log(np.where(x > 0, x, 1) / y), 0) - x + y
    if beta == 0:
        return x / y - np.log(x / y) - 1
    return (x**beta + (beta - 1) * y**beta - beta * x * y ** (beta - 1)) / (beta * (beta - 1))


def divergence(x, y, beta):
    """Σ d_β(x, y)."""
    return float(np.sum(entries(np.asarray(x), np.asarray(y), beta)))


def slope(w, prior, beta):
    """∂ d_β(w, prior) / ∂w: strictly increasing in w, for every β."""
    if beta == 1:
        return np.log(w / prior)
    return (w ** (beta - 1) - prior ** (beta - 1)) / (beta - 1)


def halves(x, w, h, beta):
    """Ĉ = (x ⊙ P^(β−2)) Hᵀ and D̂ = P^(β−1) Hᵀ at P = W H: what pulls W up, and what pulls it down."""
    p = w @ h
    return (x * p ** (beta - 2)) @ h.T, p ** (beta - 1) @ h.T


def majoriser_slope(t, c, d, beta):
    """The derivative in w of what majorises D_β at w̃, t = w/w̃: its convex part by Jensen, its concave by a tangent."""
    if beta < 1:
        return d - c * t ** (beta - 2)
    if beta <= 2:
        return d * t ** (beta - 1) - c * t ** (beta - 2)
    return d * t ** (beta - 1) - c
