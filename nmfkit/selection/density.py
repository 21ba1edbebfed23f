"""Robust components of many replicates: outliers dropped, the others clustered, a median for each cluster.

After consensus NMF (Kotliar et al., eLife 8:e43803, 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import DataError
from nmfkit.selection.matching import directions

ROUNDS = 200
"""Most rounds of assigning and averaging."""
STARTS = 20
"""Replicates whose components k-means starts from, in turn."""
STRIP = 512
"""Components whose distances to all others are held at a time."""


@dataclass(frozen=True)
class Clusters:
    """Components of all replicates, clustered.

    `h` (rank, n) are the medians, each with sum 1. `density` (R · rank,) is the mean distance of each component to its
    nearest neighbours, `kept` says which were not dropped, `members` (R · rank,) is the cluster of each, −1 if dropped.
    `sizes` (rank,) counts them. `silhouette` (rank,) says how tight and apart the clusters are, 1 at best.
    """

    h: Array = field(repr=False)
    density: Array = field(repr=False)
    members: Array = field(repr=False)
    sizes: tuple[int, ...]
    silhouette: tuple[float, ...]

    @property
    def kept(self) -> Array:
        """Which components were not dropped."""
        return np.asarray(self.members >= 0)


def local_density(components: Array, neighbours: int) -> Array:
    """The mean Euclidean distance of each of `components` (c, n), of length 1, to so many nearest others."""
    found = np.empty(len(components))
    for lo in range(0, len(components), STRIP):
        part = components[lo : lo + STRIP]
        distance = _distances(part, components)
        distance[np.arange(len(part)), lo + np.arange(len(part))] = np.inf  # none is its own neighbour
        nearest = np.partition(distance, neighbours - 1, axis=1)[:, :neighbours]
        found[lo : lo + len(part)] = np.mean(nearest, axis=1)
    return found


def clustered(replicates: Sequence[Array], *, threshold: float = 0.5, neighbourhood: float = 0.3) -> Clusters:
    """The components of `replicates`, (rank, n) each, made one robust set.

    Components farther than `threshold`, on average, from as many neighbours as `neighbourhood` of the replicates are
    dropped (distances of vectors of length 1 are from 0 to √2). The others are clustered by k-means, from the
    components of each replicate in turn; the tightest result counts. Raises `DataError` when too few are left.
    """
    units = np.stack([directions(h) for h in replicates])
    count, rank, n = units.shape
    components = units.reshape(count * rank, n)
    density = local_density(components, max(1, round(neighbourhood * count)))
    kept: Array = np.asarray(density <= threshold)
    if int(np.sum(kept)) < rank:
        raise DataError(
            f"{int(np.sum(kept))} of {count * rank} components are left below density threshold {threshold:g}: a "
            "higher one would keep more, or the rank is too high to be reproduced"
        )
    members = np.full(count * rank, -1)
    members[kept] = min((_k_means(components[kept], start) for start in units[:STARTS]), key=lambda found: found[:2])[2]
    sizes = np.bincount(members[kept], minlength=rank)
    if np.any(sizes == 0):
        raise DataError(
            f"below density threshold {threshold:g} there are components of {int(np.sum(sizes > 0))} clusters only, "
            f"not of {rank}: choose a higher threshold, or a lower rank"
        )
    medians = np.stack([_median(components[members == k]) for k in range(rank)])
    order = np.argsort(-sizes, kind="stable")
    ranks = np.argsort(order)
    members[kept] = ranks[members[kept]]
    widths = _silhouettes(components[kept], members[kept], rank)
    return Clusters(medians[order], density, members, tuple(map(int, sizes[order])), tuple(map(float, widths)))


def _median(cluster: Array) -> Array:
    """The median of each feature, with sum 1; the mean where all medians are zero."""
    found = np.median(cluster, axis=0)
    found = found if np.any(found) else np.mean(cluster, axis=0)
    scaled: Array = found / np.sum(found)
    return scaled


def _k_means(points: Array, centres: Array) -> tuple[int, float, Array]:
    """Lloyd's k-means from `centres`: clusters left empty, the sum of squared distances, the cluster of each point."""
    members = np.full(len(points), -1)
    for _ in range(ROUNDS):
        squares = _distances(points, centres) ** 2
        new = np.argmin(squares, axis=1)
        if np.array_equal(new, members):
            break
        members = new
        counts = np.bincount(members, minlength=len(centres))
        sums = np.zeros_like(centres)
        np.add.at(sums, members, points)
        centres = np.where(counts[:, None] > 0, sums / np.maximum(1, counts)[:, None], centres)
    empty = len(centres) - len(np.unique(members))
    return empty, float(np.sum(squares[np.arange(len(points)), members])), members


def _silhouettes(points: Array, members: Array, rank: int) -> Array:
    """The mean silhouette of each cluster, by Euclidean distance; 1 where there is but one."""
    if rank == 1:
        return np.ones(1)
    counts = np.bincount(members, minlength=rank)
    widths = np.empty(len(points))
    for lo in range(0, len(points), STRIP):
        distance, own = _distances(points[lo : lo + STRIP], points), members[lo : lo + STRIP]
        sums = np.stack([distance[:, members == k].sum(axis=1) for k in range(rank)], axis=1)
        at = np.arange(len(own))
        inside = sums[at, own] / np.maximum(1, counts[own] - 1)
        means = sums / counts
        means[at, own] = np.inf
        outside = means.min(axis=1)
        widths[lo : lo + len(own)] = (outside - inside) / np.maximum(np.maximum(inside, outside), np.finfo(float).tiny)
    means = np.bincount(members, weights=widths, minlength=rank) / counts
    found: Array = means
    return found


def _distances(a: Array, b: Array) -> Any:
    """Euclidean distances (p, q) of the rows of `a` (p, n) and `b` (q, n)."""
    squares = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)[None, :] - 2 * (a @ b.T)
    return np.sqrt(np.maximum(squares, 0))
