"""A symmetric matrix from one that is not, or from lists of neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmfkit.affinity.nearest import Nearest
from nmfkit.blocks import Array
from nmfkit.sources.csr_parts import index_dtype


def graph_of(found: Nearest, weights: Array) -> Any:
    """The graph (n, n) of every node and its neighbours, joined if one of the two is a neighbour of the other.

    `weights` (n, k) of the pairs do not depend on the order of the two, and `found` has no node beside itself: then
    max(A, Aᵀ) is symmetric to the bit, with zeros on the diagonal.
    """
    from scipy.sparse import csr_array

    n, there = len(found.columns), found.columns >= 0
    index = index_dtype(2 * int(there.sum()), n)
    indptr = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(index)
    directed = csr_array((weights[there], found.columns[there].astype(index), indptr), shape=(n, n))
    directed.sort_indices()
    return tidy(directed.maximum(directed.T))


def mean(a: Any) -> Any:
    """(A + Aᵀ)/2 of a sparse matrix, symmetric to the bit."""
    return tidy((a + a.T) * 0.5)


def tidy(a: Any) -> Any:
    """Compressed rows with ascending columns and without stored zeros."""
    rows = a.tocsr()
    rows.sum_duplicates()
    rows.eliminate_zeros()
    return rows
