"""What is asked of A, row panel by row panel: its diagonal, rows without an entry, products with a thin factor."""

from __future__ import annotations

import numpy as np

from nmfkit.blocks import Array, Block, joined
from nmfkit.lowrank import LowRank
from nmfkit.protocols import Rows, Shared, Stats, Sweep
from nmfkit.sample import Picked
from nmfkit.stats import Gathered
from nmfkit_plugins.symnmf.rules import Halves


def on_diagonal(x: Block) -> Array:
    """Which of the `values` of a panel lie on the diagonal of A."""
    m, n = x.shape
    one = np.ones_like(x.values, shape=(1,), dtype=np.float64)
    here, there = x.first + np.arange(m, like=one), np.arange(n, like=one)
    # Row minus column is a product of rank 2, so that it is had at the stored entries of any kind of block.
    u = np.stack([here, np.ones_like(here)], axis=1).astype(np.float64)
    v = np.stack([np.ones_like(there), -there]).astype(np.float64)
    on: Array = LowRank(u, v).at(x) == 0
    return on


def survey_panel(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """The step that gathers the diagonal (n, 1), and which rows hold no entry that counts, as 1.0 (n, 1).

    The diagonal does not count where it is `ignored`.
    """
    del rows
    on, one = on_diagonal(x), np.ones_like(x.values, shape=(x.shape[1], 1))
    diagonal = x.like(np.where(on, x.values, 0)).dot(one)
    counting = np.where(on, 0, x.values) if shared["ignored"] else x.values
    # Of entries apart from the diagonal: a difference of sums would lose small ones beside a large diagonal.
    empty = (x.like((counting != 0).astype(x.dtype)).dot(one) == 0).astype(diagonal.dtype)
    return {}, {"diagonal": Gathered.of(x.first, diagonal), "empty": Gathered.of(x.first, empty)}


def whole_panel(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """The step that gathers A itself."""
    del rows, shared
    return {}, {"panels": Picked((x,))}


def gathered_matrix(sweep: Sweep) -> Block:
    """A as one block in memory, by a read of it."""
    _, stats = sweep(whole_panel, None, {}, tiles=False)
    return joined(stats["panels"].pieces)


def signed_product(x: Block, f: Array) -> Halves:
    """Rows of A⁺ F and of A⁻ F."""
    product, size = x.dot(f), x.like(np.abs(x.values)).dot(f)
    half = f.dtype.type(0.5)
    return Halves(half * (size + product), half * (size - product))
