"""A graph that is there, made symmetric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nmfkit.affinity.look import refuse
from nmfkit.affinity.neighbours import choice_faults
from nmfkit.affinity.search import USUAL, Sizes
from nmfkit.affinity.symmetric import mean, tidy
from nmfkit.blocks import CSR
from nmfkit.errors import DataError
from nmfkit.executors.each import Each
from nmfkit.loop import Watcher

if TYPE_CHECKING:
    from nmfkit.protocols import Source

SYMMETRIC = ("mean", "max")
DIAGONAL = ("keep", "drop")
SIGNED = "degrees would be no weights; a graph with weights of either sign is taken with normalize=none"


@dataclass(frozen=True)
class Graph:
    """A square matrix of weights as a symmetric one: (A + Aᵀ)/2, or max(A, Aᵀ) if `symmetric` is "max".

    Where one direction is not stored it counts as 0. `diagonal` "drop" leaves self-loops out. `normalize` is "cut"
    (D^-½ A D^-½, for weights ≥ 0) or "none". Held in memory as a whole, twice.
    """

    symmetric: str = "mean"
    diagonal: str = "keep"
    normalize: str = "cut"

    name = "graph"

    def __post_init__(self) -> None:
        faults = [
            *choice_faults("symmetric", self.symmetric, SYMMETRIC),
            *choice_faults("diagonal", self.diagonal, DIAGONAL),
            *choice_faults("normalize", self.normalize),
        ]
        if faults:
            raise ValueError("; ".join(faults))

    def settled(self, source: Source) -> Graph:
        """The same; raises `DataError` where `source` is not square."""
        m, n = source.shape
        if m != n:
            raise DataError(
                f"{source.uri}: {m:,} × {n:,} is no graph, whose matrix is square; for the similarity of rows by their "
                "features use knn or cosine"
            )
        return self

    def weights(self, source: Source, each: Each, watcher: Watcher, sizes: Sizes = USUAL) -> Any:
        """The graph (n, n), once `settled`."""
        del each
        watcher.stage("reading the graph")
        a = _whole(source, sizes.block, SIGNED if self.normalize == "cut" else "")
        a = mean(a) if self.symmetric == "mean" else a.maximum(a.T)
        if self.diagonal == "drop":
            a.setdiag(0)
        return tidy(a)


def _whole(source: Source, block: int, negative: str) -> Any:
    """The matrix as compressed rows; raises `DataError` for what has no place in a graph."""
    from scipy.sparse import csr_array, vstack

    parts = []
    for lo, hi in source.bounds(block):
        rows = source.read(lo, hi)
        refuse(rows, source.uri, negative=negative)
        if isinstance(rows, CSR):
            parts.append(csr_array((rows.values, rows.indices, rows.indptr), shape=rows.shape))
        else:
            parts.append(csr_array(rows.dense()))
    return vstack(parts, format="csr")
