"""Additive statistics: sums of nested dicts, tuples and lists of numbers, arrays, low-rank products and rows.

Arrays are accumulated in float64, whatever the precision of the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nmfkit.lowrank import LowRank


@dataclass(frozen=True)
class Least:
    """A number, or array, whose sum with another is the smaller of the two, so that a minimum is a statistic, too.

    `beside` is an array that belongs to an array of numbers: of the sum, that of the smaller ones.
    """

    value: Any
    beside: Any = None

    def __add__(self, other: Least) -> Least:
        if not hasattr(self.value, "astype"):
            return Least(min(self.value, other.value))
        beside = None if self.beside is None else np.where(self.value <= other.value, self.beside, other.beside)
        return Least(np.minimum(self.value, other.value), beside)


@dataclass(frozen=True)
class Gathered:
    """Rows of a matrix as a statistic: the sum of two has the rows of both, whatever their order.

    `pieces` are runs of rows with the number of the first one. It is for a factor of few columns, which then is in
    one place as a whole.
    """

    pieces: tuple[tuple[int, Any], ...]

    @classmethod
    def of(cls, first: int, rows: Any) -> Gathered:
        """The rows (k, r) from number `first` on."""
        return cls(((first, rows),))

    def __add__(self, other: Gathered) -> Gathered:
        return Gathered(self.pieces + other.pieces)

    def whole(self) -> Any:
        """All rows in their order (m, r), in one array that cannot be changed."""
        rows = np.concatenate([rows for _, rows in sorted(self.pieces, key=lambda piece: piece[0])])
        if isinstance(rows, np.ndarray):
            rows.flags.writeable = False  # so that kernels may keep what they make of it from block to block
        return rows


def widen(stats: Any) -> Any:
    """`stats` as an accumulator of its own: float64 arrays that `add` may change."""
    if isinstance(stats, dict):
        return {name: widen(part) for name, part in stats.items()}
    if isinstance(stats, LowRank):
        return LowRank(stats.u, stats.v.astype(np.float64))
    if isinstance(stats, tuple) and hasattr(stats, "_fields"):
        return type(stats)(*map(widen, stats))
    if isinstance(stats, tuple | list):
        return type(stats)(map(widen, stats))
    if hasattr(stats, "astype"):
        return stats.astype(np.float64)
    return stats


def add(total: Any, stats: Any) -> Any:
    """`total` + `stats`; arrays of `total` (from `widen`) are changed in place."""
    if isinstance(total, dict):
        if total.keys() != stats.keys():
            raise ValueError(f"statistics of one sweep differ in names: {sorted(total)} and {sorted(stats)}")
        return {name: add(part, stats[name]) for name, part in total.items()}
    if isinstance(total, LowRank):
        return total + stats
    if isinstance(total, tuple) and hasattr(total, "_fields"):
        return type(total)(*map(add, total, stats))
    if isinstance(total, tuple | list):
        return type(total)(map(add, total, stats))
    if hasattr(total, "astype"):
        total += stats
        return total
    return total + stats


def times(stats: Any, factor: float) -> Any:
    """Every number and array of `stats` times `factor`."""
    if isinstance(stats, dict):
        return {name: times(part, factor) for name, part in stats.items()}
    if isinstance(stats, tuple) and hasattr(stats, "_fields"):
        return type(stats)(*(times(part, factor) for part in stats))
    if isinstance(stats, tuple | list):
        return type(stats)(times(part, factor) for part in stats)
    return stats * factor
