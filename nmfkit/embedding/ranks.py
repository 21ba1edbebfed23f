"""The rank of given rows among all others by their distance, by counting those that are nearer.

Products of blocks decide where they can. Pairs that their rounding leaves open are compared by distances that depend
on the two rows alone, so that the ranks do not depend on how the rows are cut into blocks. Nothing is larger than a
tile of the scores of some rows with some others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nmfkit.affinity.metric import Metric
from nmfkit.affinity.panel import Panel
from nmfkit.affinity.search import Sizes, leave_out_itself
from nmfkit.blocks import Array
from nmfkit.loop import Watcher
from nmfkit.sources import tiles

if TYPE_CHECKING:
    from nmfkit.protocols import Source

SIZES = Sizes(block=2**24, rows=1024, tile=2**22)
"""Small tiles: each is gone through several times, and stays in a cache meanwhile."""

PART = 64
"""A block of X, and a tile of scores, take no more than one of so many parts of the memory."""


def sizes_within(memory: int) -> Sizes:
    """The same, smaller where the memory is."""
    most = max(2**16, memory // PART)
    return Sizes(min(SIZES.block, most), SIZES.rows, min(SIZES.tile, most))


def ranks(source: Source, metric: Metric, columns: Array, watcher: Watcher, sizes: Sizes = SIZES) -> Array:
    """The ranks (m, k) of the rows `columns` (m, k) among all others of row i, 1 for the nearest by `metric`.

    Of rows at equal distance the one with the lower number is nearer.
    """
    others, found = _Panels(source, metric, sizes), np.empty_like(columns)
    for lo, hi in tiles.even(len(columns), sizes.rows):
        watcher.stage(f"ranks of rows {lo:,} – {hi - 1:,} of {len(columns):,}")
        sought = _Sought.of(metric, others.some(lo, hi), others, columns[lo:hi])
        found[lo:hi] = 1 + sum(sought.nearer(tile) for panel in others for tile in _tiles(panel, hi - lo, sizes))
    return found


def _tiles(others: Panel, rows: int, sizes: Sizes) -> Iterator[Panel]:
    wide = max(1, sizes.tile // (8 * rows))
    return (others.rows(a, b) for a, b in tiles.even(len(others.squares), wide))


class _Panels:
    """All rows ready to be compared, a block at a time; where there is only one, it is made once."""

    def __init__(self, source: Source, metric: Metric, sizes: Sizes) -> None:
        self._source, self._metric = source, metric
        self._bounds = source.bounds(sizes.block)
        self._only = metric.panel(source.read(*self._bounds[0])) if len(self._bounds) == 1 else None

    def __iter__(self) -> Iterator[Panel]:
        if self._only is not None:
            return iter([self._only])
        return (self.some(lo, hi) for lo, hi in self._bounds)

    def some(self, lo: int, hi: int) -> Panel:
        """Rows `lo` … `hi`."""
        if self._only is not None:
            return self._only.rows(lo, hi)
        return self._metric.panel(self._source.read(lo, hi))


@dataclass(frozen=True)
class _Sought:
    """Rows whose others `columns` (b, k), at `keys` (b, k), are to be ranked."""

    metric: Metric
    mine: Panel
    columns: Array
    keys: Array

    @classmethod
    def of(cls, metric: Metric, mine: Panel, others: _Panels, columns: Array) -> _Sought:
        keys = np.empty(columns.shape)
        for panel in others:
            there = (columns >= panel.first) & (columns < panel.first + len(panel.squares))
            rows, _ = np.nonzero(there)
            keys[there] = metric.keys(mine, rows, panel, columns[there] - panel.first)
        return cls(metric, mine, columns, keys)

    def nearer(self, others: Panel) -> Array:
        """How many of `others` are nearer than each of those that are ranked (b, k)."""
        scores = self.metric.scores(self.mine, others)
        leave_out_itself(scores, self.mine.first, others.first)
        slack = self.metric.slack(self.mine, others)
        return np.stack([self._than(c, scores, slack, others) for c in range(self.columns.shape[1])], axis=1)

    def _than(self, c: int, scores: Array, slack: Array, others: Panel) -> Array:
        """How many are nearer than number `c` of each row (b,)."""
        limits = self.metric.limits(self.mine, self.keys[:, c])
        surely = scores < (limits - slack)[:, None]
        perhaps = scores <= (limits + slack)[:, None]
        counted: Array = np.count_nonzero(surely, axis=1)
        if np.count_nonzero(perhaps) == int(counted.sum()):
            return counted
        perhaps ^= surely
        a, b = np.divmod(np.flatnonzero(perhaps), scores.shape[1])
        keys, mark = self.metric.keys(self.mine, a, others, b), self.keys[a, c]
        nearer = (keys < mark) | ((keys == mark) & (b + others.first < self.columns[a, c]))
        return counted + np.bincount(a[nearer], minlength=len(counted))
