"""Which component of one fit is which of another: matched by cosine, whatever their order and scale."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from nmfkit.blocks import Array

ROUNDS = 50
"""Most rounds of matching and averaging; it ends sooner, when no component changes place."""


def directions(h: Array) -> Array:
    """The rows of `h` (r, n) with length 1, in float64; a row of zeros stays one."""
    wide = np.asarray(h, dtype=np.float64)
    wide = wide / np.maximum(np.max(wide, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    unit: Array = np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths > 0)
    return unit


def matched(a: Array, b: Array) -> Array:
    """For each row of `a` (r, n) the number of its partner in `b` (r, n): the pairs of largest total cosine."""
    from scipy.optimize import linear_sum_assignment

    cosines = directions(a) @ directions(b).T
    _, partners = linear_sum_assignment(cosines, maximize=True)
    found: Array = partners
    return found


def similarity(replicates: Sequence[Array]) -> float:
    """How alike the components of replicates (r, n) each are: mean cosine of matched pairs, over all two of them.

    1 is all the same up to order and scale, for a single replicate too.
    """
    units = [directions(h) for h in replicates]
    pairs = [float(np.mean(np.sum(a * b[matched(a, b)], axis=1))) for a, b in combinations(units, 2)]
    return float(np.mean(pairs)) if pairs else 1.0


def gathered(replicates: Sequence[Array]) -> Array:
    """The components of all replicates (R, r, n), length 1, each replicate in the order that matches the others.

    Every replicate is matched to the mean of all, beginning with the first one, until no component changes place.
    """
    units = np.stack([directions(h) for h in replicates])
    orders = [np.arange(units.shape[1]) for _ in units]
    centre = units[0]
    for _ in range(ROUNDS):
        new = [matched(centre, unit) for unit in units]
        if all(np.array_equal(a, b) for a, b in zip(new, orders, strict=True)) and _ > 0:
            break
        orders = new
        centre = directions(np.mean([unit[order] for unit, order in zip(units, orders, strict=True)], axis=0))
    return np.stack([unit[order] for unit, order in zip(units, orders, strict=True)])


def silhouettes(together: Array) -> Array:
    """The mean silhouette of each of r clusters of matched components, `together` (R, r, n) as `gathered` gives it.

    The distance is 1 − cosine. For a component with mean distance a to the others of its cluster and b to the nearest
    other cluster, the silhouette is (b − a) / max(a, b): 1 is one tight cluster, 0 no cluster at all (Rousseeuw 1987).
    1 for a single component or a single replicate, which have nothing to be compared with.
    """
    count, rank, _ = together.shape
    if rank == 1 or count == 1:
        return np.ones(rank)
    own = np.empty((count, rank))
    other = np.full((count, rank), np.inf)
    for k in range(rank):
        sums = together[:, k].sum(axis=0)
        distance = 1 - together @ sums / count  # mean distance of every component to cluster k
        itself = np.sum(together[:, k] ** 2, axis=1)
        own[:, k] = 1 - (together[:, k] @ sums - itself) / (count - 1)
        distance[:, k] = np.inf
        other = np.minimum(other, distance)
    own = np.maximum(own, 0)
    largest = np.maximum(own, other)
    shape = np.divide(other - own, largest, out=np.zeros_like(own), where=largest > 0)
    means: Array = np.mean(shape, axis=0)
    return means
