"""Sweeps in this process, on its threads or on a device, over blocks that stream through a bounded memory."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from nmfkit.blocks import Block
from nmfkit.executors.cache import BlockCache
from nmfkit.executors.drawing import Drawing
from nmfkit.executors.draws import pieces
from nmfkit.executors.each import serially
from nmfkit.executors.host import Host
from nmfkit.executors.passes import passed
from nmfkit.executors.place import Place
from nmfkit.executors.plan import MIB, Plan
from nmfkit.executors.rows import RowWriter
from nmfkit.executors.shard import ShardRun, combine, told_where, without_data
from nmfkit.loop import aged, concluded, is_drawing, is_parted, renewed, retraced, unparted
from nmfkit.protocols import Advance, Draw, Model, Parted, RowStore, Shared, Source, Stats, Step
from nmfkit.stats import widen

PIECE = MIB // 2
"""Bytes of a batch that one thread takes: several threads share a larger one."""


class LocalExecutor:
    """Runs each shard of blocks on one thread, the next block read ahead, and sums statistics in shard order.

    Linear algebra inside a step gets one thread. A sweep that fails or is interrupted leaves the previous rows
    untouched. `on_block` is called with the bytes of each block done. `place` is where the arrays of steps are: the
    rows and the shared state stay there between sweeps, and `fetch` brings the state back.
    """

    each = staticmethod(serially)

    def __init__(
        self,
        source: Source,
        plan: Plan,
        *,
        scratch: Path | None = None,
        on_block: Callable[[int], None] | None = None,
        place: Place | None = None,
    ) -> None:
        self.source, self.plan = source, plan
        self._place = Host() if place is None else place
        self.on_block = on_block
        self._scratch_parent = scratch
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._reading = Reading(source, BlockCache(plan.cache_bytes))
        self._lock = threading.Lock()
        threads = self._place.threads(plan)
        self._workers = ThreadPoolExecutor(threads, "nmfkit-sweep") if threads > 1 else None
        self._readers = ThreadPoolExecutor(plan.threads, "nmfkit-read") if self._place.reads_ahead(plan) else None
        self._drawing = Drawing(source, plan, self._drawn_from, self._readers, self._place.numbers)
        # Threads go over tiles; inside products they would only wait for each other, for long on a busy machine.
        self._blas = threadpool_limits(1, "blas")

    def close(self) -> None:
        """Stop the threads, drop the cache and the scratch files: each of these, whichever fails."""
        with ExitStack() as last:
            last.callback(self._blas.restore_original_limits)
            if self._scratch is not None:
                last.callback(self._scratch.cleanup)
            last.callback(self._reading.cache.drop)
            last.callback(self._place.close)
            for pool in (self._readers, self._workers):  # the last comes first, for workers wait for what is read
                if pool is not None:
                    last.callback(pool.shutdown, wait=True, cancel_futures=True)

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def sweep(
        self, step: Step, rows: RowStore | None, shared: Shared, *, data: bool = True, tiles: bool = True
    ) -> tuple[RowStore, Stats]:
        """Run `step` on every tile and sum its statistics in block order.

        Without `data`, X is not read; without `tiles`, `step` gets whole blocks.
        """
        with self._place.active():
            made, stats = self._swept(step, rows, shared, data=data, tiles=tiles)
            return made, self._place.leave(stats)

    def _swept(
        self, step: Step, rows: RowStore | None, shared: Shared, *, data: bool = True, tiles: bool = True
    ) -> tuple[RowStore, Stats]:
        """A sweep whose statistics stay where they are."""
        writer = self._writer()
        total = self._over(range(len(self.plan.shards)), _Sweep(self, step, rows, shared, data, tiles, writer))
        return writer.finish(), total

    def advance(self, model: Model, rows: RowStore, shared: Any) -> Advance:
        """A sweep of `model.local`: the new rows, their objective with `shared`, the following state.

        A `Parted` model sweeps over the plan's groups of shards in turn, and its state is renewed after each. The
        passes of a `Phased` one come before.
        """
        with self._place.active():
            shared = self._place.enter(shared)
            if is_parted(model):
                return self._advance_by_groups(model, rows, shared)
            there, state = passed(model, self._swept, rows, shared, self._drawn)
            new, stats = self._swept(model.local, there, state)
            return Advance(new, *concluded(model, shared, stats, state), state if is_drawing(model) else None)

    def _drawn(self, step: Step, shared: Shared, draw: Draw) -> Stats:
        """The sums of `step` over a batch, in pieces that do not depend on the number of threads."""
        run = _OfBatch(self.source, self._place.enter(step), self._place.enter(shared), draw.number)
        return combine(stats for x in self._heard(self._drawing.batch(draw)) for stats in self._on_pieces(run, x))

    def _heard(self, blocks: Iterator[Block]) -> Iterator[Block]:
        for x in blocks:
            yield x
            if self.on_block is not None:
                self.on_block(x.nbytes)

    def _on_pieces(self, run: Callable[[Block], Stats], x: Block) -> Iterable[Stats]:
        return self._map(run, list(pieces(self._place.enter(x), self._place.piece(PIECE))))

    def _map(self, function: Callable[[Block], Stats], blocks: Sequence[Block]) -> Iterable[Stats]:
        if self._workers is None or len(blocks) == 1:
            return map(function, blocks)
        return self._workers.map(function, blocks)

    def _advance_by_groups(self, model: Parted, rows: RowStore, shared: Shared) -> Advance:
        groups, writer = self.plan.groups, self._writer()
        start, before = unparted(model, shared, self.plan)
        state, kept = start, list(before)
        for turn, shards in enumerate(groups):
            stats = self._over(shards, _Sweep(self, model.part, rows, state, True, True, writer))
            kept[turn] = self._place.enter(model.kept(state, stats, kept[turn]))
            current, ends = state, turn == len(groups) - 1
            objective, state, accepted = renewed(model, state, aged(kept, turn), ends=ends)
        if not accepted:
            return Advance(rows, objective, self._with_kept(retraced(model, start, before), before), False)
        return Advance(writer.finish(), objective, self._with_kept(state, kept), True, current)

    def _with_kept(self, state: Shared, kept: Sequence[Stats]) -> Shared:
        return {**state, "kept": tuple(kept), "grouping": self.plan.grouping}

    def _over(self, numbers: Sequence[int], run: _Sweep) -> Stats:
        """The sum of the statistics of some shards, in their order."""
        shards, count, fan_in = self.plan.shards, len(numbers), self.plan.layout.fan_in
        if self._workers is None:
            return combine((run.shard(i, shards[i]) for i in numbers), count, fan_in)
        futures = [self._workers.submit(run.shard, i, shards[i]) for i in numbers]
        try:
            # In shard order, so that of several faults the first in the matrix is the one reported.
            return combine((future.result() for future in futures), count, fan_in)
        finally:
            run.stop_from(-1)
            _settle(futures)

    def _writer(self) -> RowWriter:
        return RowWriter(self.source.shape[0], self._place.keep(self.plan), self._folder)

    def fetch(self, shared: Any) -> Shared:
        """The state on the host."""
        with self._place.active():
            state: Shared = self._place.leave(shared)
        return state

    def blocks(self, shard: range, rows: RowStore | None = None) -> Iterator[tuple[int, int, Block]]:
        """(lo, hi, block) of a shard in order, at their place, the next one being read meanwhile."""
        return self._place.blocks(self._bounds(shard), self._reading, rows, self._readers)

    def _bounds(self, shard: range) -> list[tuple[int, int, int]]:
        return [(i, *self.plan.bounds[i]) for i in shard]

    def _drawn_from(self, index: int, lo: int, hi: int) -> Block:
        return self._place.block(index, lo, hi, self._reading)

    def _folder(self) -> Path:
        with self._lock:
            if self._scratch is None:
                self._scratch = tempfile.TemporaryDirectory(prefix=".nmfkit-", dir=self._scratch_parent)
            return Path(self._scratch.name)


@dataclass(frozen=True)
class Reading:
    """Reads blocks of `source`, and keeps in `cache` what has room there."""

    source: Source
    cache: BlockCache

    def cached(self, index: int) -> Block | None:
        """The block, if it is in the cache."""
        return self.cache.get(None, index)

    def read(self, index: int, lo: int, hi: int) -> Block:
        """The block, from the cache or read into it."""
        kept = self.cached(index)
        if kept is not None:
            return kept
        block = self.source.read(lo, hi)
        self.cache.offer(None, index, block)
        return block

    def fresh(self, index: int, lo: int, hi: int) -> Block:
        """The block, kept nowhere."""
        del index
        return self.source.read(lo, hi)


class _Sweep:
    """One sweep in progress: its shards run on several threads, and one that fails stops those after it."""

    def __init__(
        self,
        executor: LocalExecutor,
        step: Step,
        rows: RowStore | None,
        shared: Shared,
        data: bool,
        tiles: bool,
        writer: RowWriter,
    ) -> None:
        place = executor._place
        self.executor, self.data, self._rows = executor, data, place.rows(rows)
        self._writer = place.writer(writer)
        tile_rows = executor.plan.tile_rows if data and tiles else None
        self._parts = (place.enter(step), self._rows, place.enter(shared), self._writer, tile_rows)
        self._last = len(executor.plan.shards)

    def stop_from(self, shard: int) -> None:
        """Let shards after `shard` stop at their next tile."""
        self._last = min(self._last, shard)

    def shard(self, index: int, blocks: range) -> Stats:
        """The sum of the statistics of a run of blocks, or None when another shard ended the sweep."""
        executor = self.executor
        done = executor.on_block if executor.on_block is not None and self.data else _unheard
        run = ShardRun(executor.source, *self._parts, proceeds=lambda: index <= self._last, done=done)
        try:
            with closing(self._blocks(blocks)) as given:
                stats = run(given)
            self._writer.flush()
            return stats
        except BaseException:
            self.stop_from(index)
            raise
        finally:
            self._writer.abandon()

    def _blocks(self, numbers: range) -> Generator[tuple[int, int, Block], None, None]:
        if self.data:
            yield from self.executor.blocks(numbers, self._rows)
            return
        for lo, hi, empty in without_data(self.executor._bounds(numbers)):
            yield lo, hi, self.executor._place.enter(empty)


@dataclass(frozen=True)
class _OfBatch:
    """What a step makes of a piece of a batch."""

    source: Source
    step: Step
    shared: Shared
    number: int

    def __call__(self, x: Block) -> Stats:
        """Its statistics, to add to."""
        with told_where(f"batch {self.number}", self.source):
            return widen(self.step(x, {}, self.shared)[1])


def _unheard(size: int) -> None:
    del size


def _settle(futures: list[Future[Any]]) -> None:
    for future in futures:
        future.cancel()
    for future in futures:
        if not future.cancelled():
            future.exception()
