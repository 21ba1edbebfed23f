"""What is asked of A, row panel by row panel: its diagonal, rows without an entry, products with a thin factor."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmfkit.blocks import CSR, Array, Block, Dense
from nmfkit.lowrank import LowRank
from nmfkit.protocols import Rows, Shared, Stats
from nmfkit.stats import Gathered
from nmfkit_plugins.symnmf.rules import Halves


def diagonal_of(x: Block) -> Array:
    """The entries (rows,) of a panel that lie on the diagonal of A; 0 where none is stored."""
    m, n = x.shape
    one = np.ones_like(x.values, shape=(1,), dtype=np.float64)
    here, there = x.first + np.arange(m, like=one), np.arange(n, like=one)
    # Row minus column is a product of rank 2, so that it is had at the stored entries of any kind of block.
    u = np.stack([here, np.ones_like(here)], axis=1).astype(np.float64)
    v = np.stack([np.ones_like(there), -there]).astype(np.float64)
    off = LowRank(u, v).at(x)
    kept = x.like(np.where(off == 0, x.values, np.zeros_like(x.values)))
    found: Array = kept.dot(np.ones_like(x.values, shape=(n, 1)))[:, 0]
    return found


def survey_panel(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """The step that gathers the diagonal (n, 1), and which rows hold no entry besides it, as 1.0 (n, 1)."""
    del rows
    diagonal = diagonal_of(x)[:, None]
    sums = x.like(np.abs(x.values)).dot(np.ones_like(x.values, shape=(x.shape[1], 1)))
    beside = sums - np.abs(diagonal) if shared["ignored"] else sums
    empty = (beside <= 0).astype(diagonal.dtype)
    return {}, {"diagonal": Gathered.of(x.first, diagonal), "empty": Gathered.of(x.first, empty)}


def whole_panel(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """The step that gathers A itself."""
    del rows, shared
    return {}, {"panels": Panels(((x.first, x),))}


class Panels:
    """Panels of A as a statistic, for the rules that keep it in memory."""

    def __init__(self, panels: tuple[tuple[int, Block], ...]) -> None:
        self.panels = panels

    def __add__(self, other: Panels) -> Panels:
        return Panels(self.panels + other.panels)

    def whole(self) -> Block:
        """A as one block."""
        blocks: list[Any] = [block for _, block in sorted(self.panels, key=lambda panel: panel[0])]
        if isinstance(blocks[0], CSR):
            counts = np.concatenate([np.diff(block.indptr) for block in blocks])
            indptr = np.concatenate([np.zeros_like(counts, shape=(1,)), np.cumsum(counts)])
            return CSR(
                np.concatenate([block.values for block in blocks]),
                np.concatenate([block.indices for block in blocks]),
                indptr,
                blocks[0].n,
            )
        return Dense(np.concatenate([block.values for block in blocks]))


def signed_product(x: Block, f: Array) -> Halves:
    """Rows of A⁺ F and of A⁻ F."""
    product, size = x.dot(f), x.like(np.abs(x.values)).dot(f)
    half = f.dtype.type(0.5)
    return Halves(half * (size + product), half * (size - product))
