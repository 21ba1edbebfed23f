"""What may surprise in a graph: nodes without an edge, and nodes with one to themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nmfkit.blocks import Array

MANY = 0.01
"""Part of the nodes that may have an edge to themselves without a word."""


def cautions(a: Any) -> Iterator[str]:
    """A sentence on each of the two in a sparse graph (n, n)."""
    n, alone, looped = a.shape[0], isolated(a), np.count_nonzero(a.diagonal())
    if len(alone):
        yield (
            f"{len(alone):,} of {n:,} rows have no edge, the first is row {alone[0]}; their rows of the similarity are "
            "empty, and a clustering has no label for them"
        )
    if looped > MANY * n:
        yield (
            f"{looped:,} of {n:,} nodes have an edge to themselves, which tells nothing of groups and may take "
            "components of its own; graph:diagonal=drop leaves such edges out, and --model-option diagonal=ignore lets "
            "symnmf pass over them"
        )


def isolated(a: Any) -> Array:
    """The numbers of the rows without an entry."""
    return np.flatnonzero(np.diff(a.indptr) == 0)
