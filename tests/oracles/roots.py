"""Roots of increasing functions of one variable, for many entries at once, in extended precision.

`function(w)` gives the values and the slopes in w. All is done in z = ln w.
"""

from __future__ import annotations

import numpy as np

REACH = 11_000.0
"""|ln w| at most: what extended precision holds."""
SMALL = np.finfo(np.longdouble).eps


def rising_root(function, guess):
    """w > 0 with function(w) = 0; e^±REACH where it has one sign all over."""
    z = np.log(np.asarray(guess, np.longdouble))
    low, high = np.full_like(z, -REACH), np.full_like(z, REACH)
    for step in range(400):
        w = np.exp(z)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            value, slope = function(w)
        low, high = np.where(value <= 0, z, low), np.where(value >= 0, z, high)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            new = z - np.clip(value / (slope * w), -2, 2)
        halved = step % 40 > 20  # by halves, where Newton's steps have not found it
        inside = (new >= low) & (new <= high) & (not halved)
        new = np.where(inside, new, (low + high) / 2)
        moved, z = np.abs(new - z), new
        if np.all(moved <= 4 * SMALL * (1 + np.abs(z))):
            break
    return np.exp(z)


def summed_root(function, guess, total, axis):
    """w > 0 and one multiplier μ a sum, with function(w) + μ = 0 and Σ w = `total` along `axis`."""
    w = np.asarray(guess, np.longdouble)

    def excess(mu):
        nonlocal w
        w = rising_root(lambda v: plus(function(v), mu), w)
        with np.errstate(divide="ignore", over="ignore"):
            falls = np.where(np.log(w) > 1 - REACH, 1 / function(w)[1], 0)  # what is at zero stays there
            return w.sum(axis, keepdims=True) - total, falls.sum(axis, keepdims=True)

    mu = np.zeros_like(w.sum(axis, keepdims=True))
    low, high = bracket(excess, mu)
    for step in range(400):
        over, falls = excess(mu)
        low, high = np.where(over >= 0, mu, low), np.where(over <= 0, mu, high)
        # Newton on ln Σ w, which is closer to a line than Σ w.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            new = mu + np.log1p(over / total) * (over + total) / falls
        inside = (new >= low) & (new <= high) & (step % 40 < 20)
        new = np.where(inside, new, (low + high) / 2)
        moved, mu = np.abs(new - mu), new
        if np.all((np.abs(over) <= 8 * SMALL * total) | (moved <= 4 * SMALL * np.abs(mu))):
            break
    excess(mu)
    return w, mu


def plus(pair, mu):
    value, slope = pair
    return value + mu, slope


def bracket(excess, mu):
    """Multipliers below which the sums are too large, and above which they are too small."""
    low, high = mu - 1, mu + 1
    for _ in range(200):
        if np.all(excess(low)[0] >= 0):
            break
        low = np.where(excess(low)[0] >= 0, low, 2 * low)
    for _ in range(200):
        if np.all(excess(high)[0] <= 0):
            break
        high = np.where(excess(high)[0] <= 0, high, 2 * high)
    return low, high
