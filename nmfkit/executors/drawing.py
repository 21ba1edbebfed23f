"""Batches of rows for threads of this process: their blocks stay in memory while the next ones are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.errors import NmfkitError
from nmfkit.executors.draws import Batches, Some, picked, portions
from nmfkit.executors.known import Known
from nmfkit.executors.plan import Plan
from nmfkit.protocols import Draw, Source

BLOCKS = "blocks"


class Drawing:
    """The batches of a source laid out by `plan`.

    `read` gives a block by its number and bounds; `readers` read those of the next pool ahead (None: X is in memory).
    `numbers` brings numbers of rows to where blocks are.
    """

    def __init__(
        self,
        source: Source,
        plan: Plan,
        read: Callable[[int, int, int], Block],
        readers: ThreadPoolExecutor | None,
        numbers: Callable[[Array], Array] | None,
    ) -> None:
        self._source, self._plan, self._read, self._readers = source, plan, read, readers
        self._numbers = numbers
        pool = plan.layout.pool
        # What is in memory already is one block: batches of it are copied at once.
        self._batches = Batches(plan.bounds if readers or pool else ((0, source.shape[0]),), pool)
        self._known, self._wanted = Known(), frozenset[int]()

    def batch(self, draw: Draw) -> Iterator[Block]:
        """The rows of a batch, in blocks that know no place in X: in one, unless that is large."""
        if (turn := self._batches.turning(draw)) is not None:
            self._turn(*turn)
        for some in portions(self._batches.of(draw), self._plan.rows_at_once):
            yield picked(some, self._block, self._numbers).within(self._source.shape[0])

    def _turn(self, now: list[int], following: list[int]) -> None:
        """Let go of the blocks of earlier pools, and read those of the next one ahead."""
        self._wanted = frozenset((*now, *following))
        self._known.keep(BLOCKS, set(map(str, self._wanted)))
        if self._readers is not None and self._plan.reads_ahead:
            for index in following:
                self._readers.submit(self._ahead, index)

    def _block(self, some: Some) -> Block:
        index, lo, hi, _ = some
        most = 2 * self._plan.layout.pool or len(self._plan.bounds)
        return self._known.get(BLOCKS, str(index), most, lambda: self._read(index, lo, hi))

    def _ahead(self, index: int) -> None:
        if index not in self._wanted:
            return  # batches were faster
        # Whoever needs the block reads it again, and tells what is wrong with it.
        with suppress(NmfkitError, OSError):
            self._block(Some(index, *self._plan.bounds[index], np.empty(0)))
