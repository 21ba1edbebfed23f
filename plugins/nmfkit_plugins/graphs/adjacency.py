"""The matrix of weights of a graph."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nmfkit.errors import Caution, SourceError
from nmfkit.sources import SparseSource

Array = npt.NDArray[np.int64]


def adjacency(
    path: str,
    names: Sequence[str],
    ends: tuple[Array, Array],
    weights: npt.NDArray[np.float64] | None,
    *,
    directed: bool,
) -> SparseSource:
    """A (nodes, nodes): the weight of the edges from row to column, both ways unless `directed`.

    Without weights an edge is 1, however often it is listed. Weights of edges listed several times add up, and a
    `Caution` tells how many were.
    """
    from scipy.sparse import coo_array, triu

    if not len(names):
        raise SourceError(f"{path} holds no edges")
    sources, targets = ends
    size = len(names)
    if not directed:
        sources, targets = np.minimum(sources, targets), np.maximum(sources, targets)
    data = np.ones(len(sources)) if weights is None else weights
    matrix = coo_array((data, (sources, targets)), shape=(size, size)).tocsr()
    repeated = len(data) - matrix.nnz
    if weights is None:
        matrix.data[:] = 1
    elif repeated:
        warnings.warn(
            f"{path}: weights of repeated edges add up ({repeated} of {len(data)} join nodes that another one does)",
            Caution,
            stacklevel=2,
        )
    if not directed:
        matrix = matrix + triu(matrix, 1).T  # an edge from a node to itself has one place
    return SparseSource(matrix, uri=path, row_names=tuple(names), feature_names=tuple(names))
