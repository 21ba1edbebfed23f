"""One shard of a sweep: its blocks in order, the next one read ahead, statistics added up as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, Protocol, TypeAlias

import numpy as np

from nmfkit.blocks import Block, Dense
from nmfkit.errors import NmfkitError
from nmfkit.protocols import Rows, RowStore, Shared, Source, Stats, Step
from nmfkit.stats import add, widen

Bounds: TypeAlias = Sequence[tuple[int, int, int]]
"""The blocks of a shard: (index, first row, row after the last)."""


class Reader(Protocol):
    """Gives blocks on the host: number, first row, row after the last."""

    def cached(self, index: int) -> Block | None:
        """The block, if it is in memory."""
        ...

    def read(self, index: int, lo: int, hi: int) -> Block:
        """The block, kept in memory if there is room."""
        ...

    def fresh(self, index: int, lo: int, hi: int) -> Block:
        """The block, kept nowhere."""
        ...


class Writer(Protocol):
    """Takes the new rows of a sweep."""

    def write(self, lo: int, rows: Rows) -> None:
        """The rows of a tile, from `lo` on."""
        ...

    def block(self, lo: int, hi: int) -> None:
        """All tiles of the rows `lo` … `hi` are written."""
        ...


class FlushedWriter(Writer, Protocol):
    """A writer whose rows may be under way until it is flushed, or abandoned where something has failed."""

    def flush(self) -> None:
        """Wait for all rows that are under way, and hand them on."""
        ...

    def abandon(self) -> None:
        """Wait for all rows that are under way, and hand on none."""
        ...


@dataclass(frozen=True)
class ShardRun:
    """A sweep of `step` over blocks of `source`, as one thread runs it.

    `tile_rows` is the most rows that `step` sees at once. `proceeds` is asked before every tile whether to go on;
    `done` is told the bytes of each block.
    """

    source: Source
    step: Step
    rows: RowStore | None
    shared: Shared
    writer: Writer
    tile_rows: int | None
    proceeds: Callable[[], bool]
    done: Callable[[int], None]

    def __call__(self, blocks: Iterator[tuple[int, int, Block]]) -> Stats:
        """The sum of the statistics over `blocks`, or None when it was told to stop."""
        total = None
        for lo, hi, block in blocks:
            for tile in self._tiles(block):
                if not self.proceeds():
                    return None
                total = self._tile(tile, total)
            self.writer.block(lo, hi)
            self.done(block.nbytes)
            del block
        return total

    def _tiles(self, block: Block) -> Iterator[Block]:
        block = block.within(self.source.shape[0])
        count, most = block.shape[0], self.tile_rows
        if most is None or count <= most:
            yield block
            return
        pieces = -(-count // most)
        edges = [count * i // pieces for i in range(pieces + 1)]
        for a, b in pairwise(edges):
            yield block.rows(a, b)

    def _tile(self, x: Block, total: Stats) -> Stats:
        lo, hi = x.first, x.first + x.shape[0]
        with told_where(f"rows {lo}–{hi - 1}", self.source):
            new, stats = self.step(x, self.rows.read(lo, hi) if self.rows is not None else {}, self.shared)
        self.writer.write(lo, new)
        return widen(stats) if total is None else add(total, stats)


@contextmanager
def told_where(rows: str, source: Source) -> Iterator[None]:
    """Let an error of a step on `rows` say where it was."""
    try:
        # Overflow would turn into zeros or NaN further on: say so where it happens.
        with np.errstate(over="raise"):
            yield
    except NmfkitError:
        raise
    except FloatingPointError as error:
        dtype = np.dtype(source.dtype)
        wider = ", or compute in dtype float64" if dtype == np.float32 else ""
        raise NmfkitError(
            f"{error} in {rows} of {source.uri}: numbers have left the range of {dtype}; rescale the data{wider}"
        ) from error
    except Exception as error:
        error.add_note(f"in {rows} of {source.uri}")
        raise


def read_ahead(blocks: Bounds, reader: Reader, pool: Pool) -> Iterator[tuple[int, int, Block]]:
    """(lo, hi, block) of `blocks` in order; while one is in work, a thread of `pool` reads the next."""
    ahead: Future[Block] | Block | None = None
    try:
        for at, (index, lo, hi) in enumerate(blocks):
            now = ahead if ahead is not None else _ask(blocks[at], reader, pool)
            block = now.result() if isinstance(now, Future) else now
            ahead = _ask(blocks[at + 1], reader, pool) if at + 1 < len(blocks) else None
            yield lo, hi, block
            del block, now, index
    finally:
        if isinstance(ahead, Future):
            ahead.cancel()


def _ask(bound: tuple[int, int, int], reader: Reader, pool: Pool) -> Future[Block] | Block:
    kept = reader.cached(bound[0])
    return kept if kept is not None else pool.submit(reader.read, *bound)


def without_data(blocks: Bounds) -> Iterator[tuple[int, int, Block]]:
    """(lo, hi, block) with blocks that say where they stand and hold no entries."""
    for _, lo, hi in blocks:
        yield lo, hi, Dense(np.empty((hi - lo, 0)), lo)


def combine(partials: Iterator[Any], count: int = 0, fan_in: int = 0) -> Stats:
    """The sum of partial sums, in their order; None stands for nothing.

    With `fan_in`, so many neighbours of `count` partials at a time, then so many of those sums: as workers add them.
    """
    while fan_in and count > fan_in:
        partials, count = _neighbours(partials, fan_in), -(-count // fan_in)
    total = None
    for partial in partials:
        total = partial if total is None else add(total, partial)
    return total


def _neighbours(partials: Iterator[Any], fan_in: int) -> Iterator[Any]:
    while group := list(islice(partials, fan_in)):
        yield combine(iter(group))
