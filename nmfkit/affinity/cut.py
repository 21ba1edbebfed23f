"""The normalised cut of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmfkit.blocks import Array

NORMALIZE = ("cut", "none")
"""What may be done with the weights of a graph."""


def normalized_cut(a: Any) -> Any:
    """D^-½ A D^-½ of a symmetric sparse A ≥ 0 (n, n), D = diag(A 1); symmetric to the bit, eigenvalues in [−1, 1].

    Rows without entries stay empty.
    """
    roots = np.sqrt(degrees(a))
    rows = np.repeat(np.arange(a.shape[0]), np.diff(a.indptr))
    cut = a.copy()
    cut.data = a.data / (roots[rows] * roots[a.indices])
    return cut


def degrees(a: Any) -> Array:
    """The sums (n,) of the rows of a sparse matrix."""
    found: Array = np.asarray(a.sum(axis=1), dtype=np.float64)
    return found
