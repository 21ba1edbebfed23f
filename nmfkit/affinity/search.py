"""The nearest rows of every row, by blocks of rows against blocks of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nmfkit.affinity.metric import Metric
from nmfkit.affinity.nearest import Nearest
from nmfkit.affinity.panel import Panel
from nmfkit.blocks import Array
from nmfkit.executors.each import Each, serially
from nmfkit.loop import Watcher
from nmfkit.sources import tiles
from nmfkit.sources.travel import travels
from nmfkit.sources.zarr_write import READ_BYTES

if TYPE_CHECKING:
    from nmfkit.protocols import Source

ROWS = 4096
"""Rows whose neighbours one call finds: so many that a read of all others is little beside the products."""

TILE = 2**25
"""Bytes of the scores that are held at once."""


@dataclass(frozen=True)
class Sizes:
    """How much is held at once: bytes of a block, rows of a call, bytes of scores. The result depends on none."""

    block: int = READ_BYTES
    rows: int = ROWS
    tile: int = TILE


USUAL = Sizes()


@dataclass(frozen=True, eq=False)
class Search:
    """Finds the `k` nearest others of a range of rows."""

    source: Source
    metric: Metric
    k: int
    sizes: Sizes = USUAL

    def __call__(self, bounds: tuple[int, int]) -> Nearest:
        """The neighbours of the rows in `bounds`."""
        mine = self.metric.panel(self.source.read(*bounds))
        found = Nearest.none(len(mine.squares), self.k, self.metric.worst)
        wide = max(1, self.sizes.tile // (8 * len(mine.squares)))
        for lo, hi in self.source.bounds(self.sizes.block):
            others = self.metric.panel(self.source.read(lo, hi))
            for a, b in tiles.even(hi - lo, wide):
                found = _compared(self.metric, mine, others.rows(a, b), found)
        return found


def search(source: Source, metric: Metric, k: int, each: Each, watcher: Watcher, sizes: Sizes = USUAL) -> Nearest:
    """The `k` nearest others of every row of `source`, near by `metric`; each call of `each` finds those of some.

    A call holds two blocks, and a tile of scores with a copy. Memory for the neighbours is 16 k bytes a row.
    """
    blocks = source.bounds(sizes.block)
    items = [(lo + a, lo + b) for lo, hi in blocks for a, b in tiles.even(hi - lo, sizes.rows)]
    task = Search(source, metric, k, sizes)
    if each is not serially and travels(source):
        return _stacked(each(task, items))
    found = []
    for lo, hi in items:
        watcher.stage(f"neighbours of rows {lo:,} – {hi - 1:,} of {source.shape[0]:,}")
        found.append(task((lo, hi)))
    return _stacked(found)


def _stacked(parts: list[Nearest]) -> Nearest:
    columns, keys = (np.concatenate([getattr(p, name) for p in parts]) for name in ("columns", "keys"))
    return Nearest(columns, keys, parts[0].worst)


def _compared(metric: Metric, mine: Panel, others: Panel, found: Nearest) -> Nearest:
    """The nearest of those found before and of `others`."""
    scores = metric.scores(mine, others)
    leave_out_itself(scores, mine.first, others.first)
    limits = _limits(metric, mine, others, found, scores)
    at = np.flatnonzero(scores <= limits[:, None])
    a, b = np.divmod(at, scores.shape[1])
    return found.joined(a, b + others.first, metric.keys(mine, a, others, b))


def leave_out_itself(scores: Array, first: int, other: int) -> None:
    """Make the scores of rows with themselves what no comparison takes."""
    lo, hi = max(first, other), min(first + scores.shape[0], other + scores.shape[1])
    both = np.arange(lo, hi)
    scores[both - first, both - other] = np.nan


def _limits(metric: Metric, mine: Panel, others: Panel, found: Nearest, scores: Array) -> Array:
    """Scores (m,) that no pair exceeds which is nearer than those found, or is among the nearest of the tile."""
    slack, k = metric.slack(mine, others), found.columns.shape[1]
    limits = metric.limits(mine, found.last) + slack
    short = np.flatnonzero(found.is_short)
    if len(short) and scores.shape[1] > k:
        # The k with the lowest scores have keys that exceed no other's by more than the slack, twice.
        lowest = np.partition(scores[short], k - 1, axis=1)[:, k - 1]
        limits[short] = np.minimum(limits[short], lowest + 2 * slack[short])
    # Others come in their order, and of equal keys the first stay: rows that are all alike need no further look.
    limits[found.last <= metric.best] = -np.inf
    return limits
