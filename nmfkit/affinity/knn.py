"""The self-tuning Gaussian graph of nearest neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nmfkit.affinity.euclidean import Euclidean
from nmfkit.affinity.look import largest
from nmfkit.affinity.nearest import Nearest
from nmfkit.affinity.neighbours import choice_faults, number_faults, refuse_few, usual
from nmfkit.affinity.search import USUAL, Sizes, search
from nmfkit.affinity.symmetric import graph_of
from nmfkit.blocks import Array
from nmfkit.executors.each import Each
from nmfkit.loop import Watcher

if TYPE_CHECKING:
    from nmfkit.protocols import Source


@dataclass(frozen=True)
class Knn:
    """A_ij = exp(−d²_ij/(σ_i σ_j)) for the `k` nearest neighbours of each row, by the Euclidean distance.

    σ_i is the distance of row i to its neighbour number `local` (Zelnik-Manor & Perona, NIPS 2004). Two rows are joined
    if one is among the k nearest of the other. Neither count has the row itself in it, as in Kuang, Yun & Park, J.
    Global Optim. 62, 2015; k is ⌊log₂ n⌋ + 1 unless given, and of rows at equal distance the first are nearest.

    `local` or more rows that are equal have σ = 0: they are joined with each other, with weight 1, and with no other
    row, which is the limit of the formula. `normalize` is "cut" (D^-½ A D^-½) or "none". Features of either sign.
    """

    k: int | None = None
    local: int = 7
    normalize: str = "cut"

    name = "knn"

    def __post_init__(self) -> None:
        counts = {"local": self.local} if self.k is None else {"k": self.k, "local": self.local}
        faults = [*number_faults(**counts), *choice_faults("normalize", self.normalize)]
        if faults:
            raise ValueError("; ".join(faults))

    def settled(self, source: Source) -> Knn:
        """The same with k for the rows of `source`; raises `DataError` where they are too few."""
        n = source.shape[0]
        k = usual(n) if self.k is None else self.k
        refuse_few(n, source.uri, k=k, local=self.local)
        return replace(self, k=k)

    def weights(self, source: Source, each: Each, watcher: Watcher, sizes: Sizes = USUAL) -> Any:
        """The graph (n, n) of the rows, once `settled`."""
        k = self.k or usual(source.shape[0])
        exponent = math.frexp(largest(source, each, sizes.block))[1]
        found = search(source, Euclidean(exponent), max(k, self.local), each, watcher, sizes)
        near = found.nearest(k)
        return graph_of(near, _gaussian(near, np.sqrt(found.keys[:, self.local - 1])))


def _gaussian(found: Nearest, scales: Array) -> Array:
    """exp(−d²/(σ_i σ_j)) for each row and its neighbours (n, k), 1 where d = 0."""
    distances = np.sqrt(found.keys)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios = (distances / scales[:, None]) * (distances / scales[found.columns])
    weights: Array = np.exp(-np.where(distances > 0, ratios, 0.0))
    return weights
