"""The nearest rows of each row, kept while others come by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nmfkit.blocks import Array


@dataclass(frozen=True)
class Nearest:
    """Up to k neighbours of m rows: their numbers `columns` (m, k) and `keys` (m, k), nearest first.

    Of equal keys the lower number is nearer. Places without a neighbour hold −1 and `worst`.
    """

    columns: Array
    keys: Array
    worst: float

    @classmethod
    def none(cls, rows: int, k: int, worst: float) -> Nearest:
        """No neighbours yet."""
        return cls(np.full((rows, k), -1, np.int64), np.full((rows, k), worst), worst)

    @property
    def last(self) -> Array:
        """The key (m,) that a further neighbour must not exceed."""
        return self.keys[:, -1]

    @property
    def is_short(self) -> Array:
        """Which rows (m,) have fewer than k neighbours."""
        return self.columns[:, -1] < 0

    def joined(self, rows: Array, columns: Array, keys: Array) -> Nearest:
        """The nearest of these and of other pairs (q,) each; every pair comes once."""
        good = keys < self.worst
        rows, columns, keys = rows[good], columns[good], keys[good]
        if not len(rows):
            return self
        touched, rows = np.unique(rows, return_inverse=True)
        held = self.columns[touched] >= 0
        rows = np.concatenate([np.nonzero(held)[0], rows])
        columns = np.concatenate([self.columns[touched][held], columns])
        keys = np.concatenate([self.keys[touched][held], keys])
        new = _first(rows, columns, keys, len(touched), self.columns.shape[1], self.worst)
        every = Nearest(self.columns.copy(), self.keys.copy(), self.worst)
        every.columns[touched], every.keys[touched] = new.columns, new.keys
        return every

    def nearest(self, k: int) -> Nearest:
        """The k nearest alone."""
        return Nearest(self.columns[:, :k], self.keys[:, :k], self.worst)


def _first(rows: Array, columns: Array, keys: Array, count: int, k: int, worst: float) -> Nearest:
    """The k nearest of each of `count` rows, from pairs in any order."""
    order = np.lexsort((columns, keys, rows))
    rows = rows[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, np.arange(count))[rows]
    near = place < k
    found = Nearest.none(count, k, worst)
    at = (rows[near], place[near])
    found.columns[at], found.keys[at] = columns[order][near], keys[order][near]
    return found
