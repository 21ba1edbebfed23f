"""Batches of rows in a shuffled order, the same wherever they are formed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from nmfkit.blocks import Array, Block, joined
from nmfkit.protocols import Draw

ROWS = 64
"""Rows of a batch that are worth sums of their own: those may be as wide as many rows of X."""


class Some(NamedTuple):
    """Rows of block number `block`, which is `lo` … `hi` of X: their numbers in the block, ascending."""

    block: int
    lo: int
    hi: int
    rows: Array


class Order:
    """All rows, shuffled by `seed`: first blocks, then the rows of `pool` of them at a time (0: of all)."""

    def __init__(self, bounds: Sequence[tuple[int, int]], pool: int, seed: tuple[int, ...]) -> None:
        self._bounds, self._seed, count = bounds, seed, len(bounds)
        blocks = np.arange(count) if pool in range(1, count) else np.arange(0)
        np.random.default_rng([*seed, 0]).shuffle(blocks)
        # In the order of X within a pool: then the batches of a single pool know nothing of blocks.
        shuffled = [sorted(blocks[i : i + pool].tolist()) for i in range(0, len(blocks), max(1, pool))]
        self.pools = shuffled or [list(range(count))]
        sizes = [sum(bounds[i][1] - bounds[i][0] for i in pool) for pool in self.pools]
        self._edges = [0, *accumulate(sizes)]
        self._shuffled = lru_cache(maxsize=2)(self._shuffle)

    def _shuffle(self, pool: int) -> Array:
        numbers = np.concatenate([np.arange(*self._bounds[i]) for i in self.pools[pool]])
        np.random.default_rng([*self._seed, 1 + pool]).shuffle(numbers)
        return numbers

    def within(self, lo: int, hi: int) -> range:
        """The pools that the places `lo` … `hi` of the order are in."""
        return range(bisect_right(self._edges, lo) - 1, bisect_left(self._edges, hi))

    def rows(self, lo: int, hi: int) -> Array:
        """The numbers of the rows in the places `lo` … `hi`, ascending."""
        pieces = []
        for pool in self.within(lo, hi):
            first = self._edges[pool]
            pieces.append(self._shuffled(pool)[max(0, lo - first) : hi - first])
        return np.sort(np.concatenate(pieces))


class Batches:
    """The batches of blocks with these `bounds`, the rows of `pool` blocks shuffled together (0: of all)."""

    def __init__(self, bounds: Sequence[tuple[int, int]], pool: int) -> None:
        self._bounds, self._pool = tuple(bounds), pool
        self._edges = np.asarray([lo for lo, _ in bounds] + [bounds[-1][1]])
        self._order: tuple[tuple[int, ...], Order] | None = None

    def of(self, draw: Draw) -> list[Some]:
        """The rows of a batch by the blocks that they are in."""
        rows = self._ordered(draw).rows(*self._places(draw))
        places = np.searchsorted(rows, self._edges)
        used = np.flatnonzero(np.diff(places)).tolist()
        return [Some(i, *self._bounds[i], rows[places[i] : places[i + 1]] - self._bounds[i][0]) for i in used]

    def turning(self, draw: Draw) -> tuple[list[int], list[int]] | None:
        """The blocks of the pool that this batch begins in and those of the next one; None if one before did, too."""
        order, (lo, hi) = self._ordered(draw), self._places(draw)
        pool = order.within(lo, hi)[0]
        if lo > 0 and order.within(lo - draw.rows, lo)[0] == pool:
            return None
        return order.pools[pool], order.pools[pool + 1] if pool + 1 < len(order.pools) else []

    def _places(self, draw: Draw) -> tuple[int, int]:
        lo = draw.number * draw.rows
        return lo, min(lo + draw.rows, self._bounds[-1][1])

    def _ordered(self, draw: Draw) -> Order:
        if self._order is None or self._order[0] != draw.seed:
            self._order = draw.seed, Order(self._bounds, self._pool, draw.seed)
        return self._order[1]


def portions(some: Sequence[Some], rows: int) -> Iterator[list[Some]]:
    """The rows of a batch in portions of so many, so that a large batch is never in memory in one."""
    portion: list[Some] = []
    room = rows
    for block, lo, hi, numbers in some:
        at = 0
        while at < len(numbers):
            taken = numbers[at : at + room]
            portion.append(Some(block, lo, hi, taken))
            at, room = at + len(taken), room - len(taken)
            if room == 0:
                yield portion
                portion, room = [], rows
    if portion:
        yield portion


def picked(
    some: Sequence[Some], block: Callable[[Some], Block], numbers: Callable[[Array], Array] | None = None
) -> Block:
    """The rows of a batch in one block, from `block`, which gives the whole block of each part.

    `numbers` brings numbers of rows to where blocks are, if that is elsewhere.
    """
    pieces = [block(part).take(part.rows if numbers is None else numbers(part.rows)) for part in some]
    return pieces[0] if len(pieces) == 1 else joined(pieces)


def pieces(x: Block, size: int) -> Iterator[Block]:
    """`x` in runs of rows of about `size` bytes, and of at least `ROWS` rows, whoever works on them."""
    count = max(1, min(x.shape[0] // ROWS, x.nbytes // size))
    for a, b in pairwise([x.shape[0] * i // count for i in range(count + 1)]):
        yield x.rows(a, b)
