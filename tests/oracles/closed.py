"""Closed forms of min over w of the majoriser of D_β at w̃ + λ d_β(w, w̄), from Leplat, Hien, Onwunta & Gillis (2024).

All are in terms of Ĉ, D̂ (`halves`) and what they carry: β = 0, ½, 1, 3/2, 2.
"""

from __future__ import annotations

import numpy as np
from scipy.special import wrightomega


def coupled(w, c, d, prior, weight, beta):
    """The new w > 0."""
    return CLOSED[beta](w, c, d, prior, weight)


def itakura_saito(w, c, d, prior, weight):
    a = d + weight / prior
    return (weight + np.sqrt(weight**2 + 4 * a * c * w**2)) / (2 * a)


def half(w, c, d, prior, weight):
    """w^(−½) by the hyperbolic sine of a third of an angle."""
    p, carried = d + 2 * weight / np.sqrt(prior), c * w**1.5
    s, q = 2 * weight / carried, p / carried
    v = 2 * np.sqrt(s / 3) * np.sinh(np.arcsinh(3 * q / (2 * s) * np.sqrt(3 / s)) / 3)
    return v**-2.0


def kullback_leibler(w, c, d, prior, weight):
    """By the Wright omega function, whose argument is a logarithm: its exponential would overflow for small λ."""
    y = wrightomega(np.log(w * c / weight) + d / weight - np.log(prior))
    with np.errstate(divide="ignore"):
        direct = w * c / (weight * y)
    return np.where(y > 1e-3, direct, prior * np.exp(np.minimum(y - d / weight, 700)))


def three_halves(w, c, d, prior, weight):
    a, b = d + 2 * weight * np.sqrt(w), 2 * weight * np.sqrt(prior * w)
    return ((b + np.sqrt(b**2 + 4 * a * c * w)) / (2 * a)) ** 2


def frobenius(w, c, d, prior, weight):
    return w * (c + weight * prior) / (d + weight * w)


CLOSED = {0: itakura_saito, 0.5: half, 1: kullback_leibler, 1.5: three_halves, 2: frobenius}
