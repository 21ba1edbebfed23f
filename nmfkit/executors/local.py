"""Sweeps on threads of this process, over blocks that stream through a bounded memory."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from nmfkit.blocks import Block, Dense
from nmfkit.errors import NmfkitError
from nmfkit.executors.plan import Plan
from nmfkit.executors.rows import RowWriter
from nmfkit.protocols import RowStore, Shared, Source, Stats, Step
from nmfkit.stats import add, widen


class LocalExecutor:
    """Runs each shard of blocks on one thread, the next block read ahead, and sums statistics in shard order.

    Linear algebra inside a step gets one thread. A sweep that fails or is
    interrupted leaves the previous rows untouched. `on_block` is called with the bytes of each block done.
    """

    def __init__(
        self,
        source: Source,
        plan: Plan,
        *,
        scratch: Path | None = None,
        on_block: Callable[[int], None] | None = None,
    ) -> None:
        self.source, self.plan = source, plan
        self.on_block = on_block
        self._scratch_parent = scratch
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._cache: dict[int, Block] = {}
        self._cached = 0
        self._lock = threading.Lock()
        threads = plan.threads
        self._workers = ThreadPoolExecutor(threads, "nmfkit-sweep") if threads > 1 else None
        self._readers = None if plan.resident else ThreadPoolExecutor(threads, "nmfkit-read")
        # Threads go over tiles; inside products they would only wait for each other, for long on a busy machine.
        self._blas = threadpool_limits(1, "blas")

    def close(self) -> None:
        """Stop the threads, drop the cache and the scratch files."""
        for pool in (self._workers, self._readers):
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)
        self._cache.clear()
        if self._scratch is not None:
            self._scratch.cleanup()
        self._blas.restore_original_limits()

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
        writer = RowWriter(self.source.shape[0], self.plan.rows_resident, self._folder)
        run = _Run(self, step, rows, shared, data, tiles, writer)
        shards = self.plan.shards
        if self._workers is None:
            partials: Iterator[Any] = (run.shard(i, shard) for i, shard in enumerate(shards))
            total = _combine(partials)
        else:
            futures = [self._workers.submit(run.shard, i, shard) for i, shard in enumerate(shards)]
            try:
                # In shard order, so that of several faults the first in the matrix is the one reported.
                total = _combine(future.result() for future in futures)
            finally:
                run.stop_from(-1)
                _settle(futures)
        return writer.finish(), total

    def blocks(self, shard: range) -> Iterator[tuple[int, int, Block]]:
        """(lo, hi, block) of a shard in order, the next one being read meanwhile."""
        if self._readers is None:
            for i in shard:
                lo, hi = self.plan.bounds[i]
                yield lo, hi, self.source.read(lo, hi)
            return
        ahead: Future[Block] | None = self._ask(shard[0])
        for i in shard:
            block = ahead.result() if ahead is not None else self._cache[i]
            following = i + 1
            ahead = self._ask(following) if following in shard else None
            lo, hi = self.plan.bounds[i]
            yield lo, hi, block
            del block

    def _ask(self, index: int) -> Future[Block] | None:
        assert self._readers is not None
        return None if index in self._cache else self._readers.submit(self._read, index)

    def _read(self, index: int) -> Block:
        block = self.source.read(*self.plan.bounds[index])
        with self._lock:
            # Every sweep reads in the same order, so the blocks that came first are as good to keep as any.
            if self._cached + block.nbytes <= self.plan.cache_bytes:
                self._cache[index] = block
                self._cached += block.nbytes
        return block

    def _folder(self) -> Path:
        with self._lock:
            if self._scratch is None:
                self._scratch = tempfile.TemporaryDirectory(prefix=".nmfkit-", dir=self._scratch_parent)
            return Path(self._scratch.name)


class _Run:
    """One sweep in progress."""

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
        self.executor, self.step, self.rows, self.shared = executor, step, rows, shared
        self.data, self.writer = data, writer
        self._tile_rows = executor.plan.tile_rows if data and tiles else None
        self._last = len(executor.plan.shards)

    def stop_from(self, shard: int) -> None:
        """Let shards after `shard` stop at their next tile."""
        self._last = min(self._last, shard)

    def shard(self, index: int, blocks: range) -> Stats:
        """The sum of the statistics of a run of blocks, or None when another shard ended the sweep."""
        total = None
        try:
            for lo, hi, block in self._blocks(blocks):
                for tile in self._tiles(block):
                    if index > self._last:
                        return None
                    total = self._tile(tile, total)
                if self.executor.on_block is not None and self.data:
                    self.executor.on_block(block.nbytes)
                del block, lo, hi
        except BaseException:
            self.stop_from(index)
            raise
        return total

    def _blocks(self, blocks: range) -> Iterator[tuple[int, int, Block]]:
        if self.data:
            yield from self.executor.blocks(blocks)
            return
        for i in blocks:
            lo, hi = self.executor.plan.bounds[i]
            block: Block = Dense(np.empty((hi - lo, 0)), lo)
            yield lo, hi, block

    def _tiles(self, block: Block) -> Iterator[Block]:
        count, most = block.shape[0], self._tile_rows
        if most is None or count <= most:
            yield block
            return
        pieces = -(-count // most)
        edges = [count * i // pieces for i in range(pieces + 1)]
        for a, b in pairwise(edges):
            yield block.rows(a, b)

    def _tile(self, x: Block, total: Stats) -> Stats:
        lo, hi = x.first, x.first + x.shape[0]
        try:
            # Overflow would turn into zeros or NaN further on: say so where it happens.
            with np.errstate(over="raise"):
                new, stats = self.step(x, self.rows.read(lo, hi) if self.rows is not None else {}, self.shared)
        except NmfkitError:
            raise
        except FloatingPointError as error:
            dtype = np.dtype(self.executor.source.dtype)
            wider = ", or compute in dtype float64" if dtype == np.float32 else ""
            raise NmfkitError(
                f"{error} in rows {lo}–{hi - 1} of {self.executor.source.uri}: numbers have left the range of {dtype}; "
                f"rescale the data{wider}"
            ) from error
        except Exception as error:
            error.add_note(f"in rows {lo}–{hi - 1} of {self.executor.source.uri}")
            raise
        self.writer.write(lo, new)
        return widen(stats) if total is None else add(total, stats)


def _combine(partials: Iterator[Any]) -> Stats:
    total = None
    for partial in partials:
        total = partial if total is None else add(total, partial)
    return total


def _settle(futures: list[Future[Any]]) -> None:
    for future in futures:
        future.cancel()
    for future in futures:
        if not future.cancelled():
            future.exception()
