"""How a fit is laid out, here or on workers: blocks, tiles, shards, and what the memory budget is spent on."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from nmfkit.errors import UsageError
from nmfkit.executors.refusal import TooLittle
from nmfkit.executors.resources import available_threads, free_memory
from nmfkit.protocols import Source
from nmfkit.sources.observed import Observed

if TYPE_CHECKING:
    from nmfkit.executors.device.budget import DevicePlan

MIB = 2**20
ELEMENTWISE_TILE = 2 * MIB
"""Bytes of X in a tile whose temporaries should stay in a core's second-level cache."""
PRODUCT_TILE = 4 * MIB
"""Bytes of X in a tile that is only multiplied: large enough for the products' full speed."""
BLOCK = 16 * MIB
"""Largest block that is read at once, unless one chunk is larger."""
FLAT = 16
"""Shards whose statistics one task may add up; more go through a tree."""
WORKER_SHARE = 0.75
"""Part of a worker's memory that is planned with; dask lets a worker pause at 0.8 of it."""
W_COPIES = 6
"""Copies of a block's rows of W that a thread of a worker holds at most."""
WORKER_BASE = 160 * MIB
"""Bytes that a worker process takes before it holds any data."""
BASE = 200 * MIB
"""Bytes that this process takes before it holds any data: blocks are kept in what these leave of the budget."""
CACHED = 0.6
"""Part of the memory left that blocks are kept in: as measured, readers and the allocator take the rest."""
GROUPS_SHARE = 0.25
"""Part of the memory that the statistics of all groups may take."""
FAN_IN = 8
"""Sums that a task of the tree adds up, as far as they fit the memory."""


@dataclass(frozen=True)
class Layout:
    """What decides in which order numbers are added: two fits of one layout agree bit for bit.

    `target` is the size of a block asked for in bytes, `shards` their number, `tile_rows` the most rows a step sees
    at once (None: whole blocks). `fan_in` is the number of shards, and then of sums, that are added up at a time
    (0: all at once). `groups` is the number of groups of shards that a sweep by groups goes through, `pool` that of
    blocks whose rows are shuffled together into batches (0: of all).
    """

    target: int
    shards: int
    tile_rows: int | None
    fan_in: int = 0
    groups: int = 1
    pool: int = 0


@dataclass(frozen=True)
class Plan:
    """The layout of a fit: `threads` of this process, or as many of each of `workers` processes (0: this one).

    `bounds` are the row ranges of the blocks, `shards` ranges of block indices that one thread runs in order. Byte
    figures are estimates of peaks, for one worker where there are several; `statistics_bytes` is what a shard sends.
    `reads` is how often a sweep goes through X. `device` says how the memory of a device is used, where there is one.
    """

    layout: Layout
    threads: int
    bounds: tuple[tuple[int, int], ...]
    shards: tuple[range, ...]
    memory: int
    block_bytes: int
    shared_bytes: int
    rows_bytes: int
    rows_resident: bool
    cache_bytes: int
    resident: bool
    source_bytes: int
    given_memory: int | None = None
    workers: int = 0
    statistics_bytes: int = 0
    reads: int = 1
    pool_bytes: int = 0
    device: DevicePlan | None = None

    @property
    def reads_ahead(self) -> bool:
        """Whether there is room for the blocks of two pools."""
        return self.pool_bytes > 0

    @property
    def rows_at_once(self) -> int:
        """Rows of a batch that are in memory together: of about a block's size, at least one."""
        return max(1, BLOCK * self.bounds[-1][1] // max(1, self.source_bytes))

    @property
    def tile_rows(self) -> int | None:
        """The most rows a step sees at once; None: whole blocks."""
        return self.layout.tile_rows

    @property
    def groups(self) -> tuple[range, ...]:
        """Numbers of the shards of each group: every so many, so that a group has rows from all over X."""
        count = min(self.layout.groups, len(self.shards))
        return tuple(range(first, len(self.shards), count) for first in range(count))

    @property
    def grouping(self) -> str:
        """The same for two plans whose groups have the same rows."""
        rows = [[self.bounds[i] for shard in group for i in self.shards[shard]] for group in self.groups]
        return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]

    @property
    def bytes_per_sweep(self) -> int:
        """Bytes of X that a sweep reads from outside the memory of those who work on them."""
        stays = 0 if self.device is None else self.device.cache_bytes
        kept = (self.cache_bytes + stays) * max(1, self.workers)
        once = 0 if self.resident else max(0, self.source_bytes - kept)
        return self.reads * once

    @property
    def passed_bytes(self) -> int:
        """Bytes of X that a sweep goes through, wherever they are."""
        return self.reads * self.source_bytes

    def describe(self) -> dict[str, Any]:
        """The plan in plain values."""
        return {
            "workers": self.workers,
            "threads": self.threads,
            "blocks": len(self.bounds),
            "rows_per_block": max(hi - lo for lo, hi in self.bounds),
            "block_bytes": self.block_bytes,
            "tile_rows": self.tile_rows,
            "shards": len(self.shards),
            "groups": len(self.groups),
            "memory_budget": self.memory,
            "shared_and_statistics_bytes": self.shared_bytes,
            "w_bytes": self.rows_bytes,
            "w_in_memory": self.rows_resident,
            "cache_bytes": self.cache_bytes,
            "pool_blocks": self.layout.pool,
            "pool_bytes": self.pool_bytes,
            "source_bytes": self.source_bytes,
            "reads_per_sweep": self.reads,
            "read_per_sweep_bytes": self.bytes_per_sweep,
            "device": None if self.device is None else self.device.describe(),
        }


def make_plan(
    source: Source,
    *,
    width: int,
    dtype: Any,
    elementwise: bool,
    forms_product: bool,
    row_copies: int = 1,
    groups: int = 0,
    memory: int | None = None,
    threads: int | None = None,
    layout: Layout | None = None,
    workers: int = 0,
    reads: int = 1,
    shared_width: int | None = None,
    draws: bool = False,
    views: bool = False,
    besides: int = 0,
) -> Plan:
    """Lay out a fit of factors of `width` columns in all, within `memory` bytes (None: half of what is free).

    `shared_width` is that of the shared state where it is more than its components. With `draws`, batches are formed
    of the rows of several blocks, which are to be in memory together. With `views`, steps make another matrix of X.

    `row_copies` says how often rows of that width are kept, with what serves going on. `groups` is how many groups of
    shards a sweep would like to go through one after the other, keeping the statistics of each (0: whole sweeps); it
    gets fewer where memory or blocks do not suffice. `reads` is how often a sweep goes through X.

    Of the memory, `besides` bytes are spoken for. With `workers`, memory and threads are those of each of them. With
    `layout`, that of an earlier plan is kept.
    Raises `UsageError` when the shared factors and one block a thread do not fit.
    """
    m, n = source.shape
    itemsize = np.dtype(dtype).itemsize
    spread = max(1, workers)
    count = threads or available_threads()
    budget = (memory if memory is not None else free_memory() // 2) - besides
    # One H and its successor, float64 statistics of two halves for each thread, and the rule's temporaries.
    wide = shared_width or width
    statistics = 2 * wide * n * 8
    # A state that is more than H changes several times a sweep: there is the one that stands, too, and one to come.
    shared = (4 if shared_width is None else 8) * wide * n * itemsize + 3 * statistics
    size = source_bytes(source)
    resident = source.resident and not workers
    rows_width = row_copies * width
    rows_bytes = 2 * m * rows_width * itemsize
    if groups > 1 and memory is not None:
        groups = max(1, min(groups, int(GROUPS_SHARE * budget) // statistics))
    if groups:
        # Those of all groups where they are kept in memory, and two sums of them.
        shared += (2 + (0 if workers else layout.groups if layout else groups)) * statistics
    if memory is None and shared + statistics > 2 * budget:
        state = "components" if shared_width is None else "columns of weights"
        lower = "a lower rank" if shared_width is None else "smaller layers of the model, a lower rank"
        raise UsageError(
            f"{wide} {state} of {n:,} features take {size_text(shared + statistics)} with their statistics, and "
            f"{size_text(2 * budget)} of memory are free: choose {lower}, or put the longer side on the rows "
            "(nmfkit convert --transpose)"
        )
    left = budget - shared - statistics
    count = max(1, min(count, left // max(1, 2 * statistics))) if memory is not None else count
    target = layout.target if layout else _block_target(size, resident, left, count, spread, groups)
    if workers and not layout:
        target = max(MIB // 16, int(target * min(1.0, size / max(1, m * rows_width * itemsize))))
    bounds = tuple(source.bounds(target))
    largest = max(size * (hi - lo) // m for lo, hi in bounds)
    count = min(count, -(-len(bounds) // spread))
    # A block in work, the next one being read, and what the reader holds besides.
    in_flight = 0 if resident else count * 3 * largest
    if workers:
        # Rows of W before and after, tiles, and what is written: much, where rows of X have few entries.
        in_flight += count * W_COPIES * max(hi - lo for lo, hi in bounds) * rows_width * itemsize
    left = budget - shared - count * statistics - in_flight
    if left < 0 and memory is not None:
        needed = budget - left + largest + besides
        takes = (
            f"the shared factors and statistics take {size_text(shared + count * statistics)} and {count} thread(s) "
            f"with blocks of {size_text(largest)} take {size_text(in_flight)}"
        )
        if workers:
            raise UsageError(
                f"the memory of a worker is too small, {size_text(budget)} of it are left for a fit: {takes}; give "
                f"each {enough_text(worker_limit(needed))} or more (--memory, and dask's own limit where that is "
                "lower), or convert the matrix to smaller chunks"
            )
        raise TooLittle(
            lambda enough: (
                f"the memory budget of {size_text(budget)} is too small: {takes}; allow --memory "
                f"{enough_text(enough)} or more, or convert the matrix to smaller chunks"
            ),
            needed,
            "memory",
        )
    rows_resident = not workers and (rows_bytes <= max(0, left) * 0.6 or memory is None)
    left -= rows_bytes if rows_resident else 0
    left -= BASE if memory is not None and not workers else 0
    cache = 0 if resident else max(0, min(int(CACHED * left), size))
    pool = layout.pool if layout else 0
    if draws and not resident and not layout and cache * spread < size:
        pool = max(2, cache * spread // (4 * largest))
    pool_bytes = 2 * pool * largest // spread
    pool_bytes = pool_bytes if pool_bytes <= cache else 0  # the least pool takes what blocks in flight have
    cache -= pool_bytes
    if not layout:
        # Of each group every thread should have a shard.
        groups = max(1, min(groups, len(bounds) // (count * spread)))
        layout = Layout(
            target,
            min(len(bounds), groups * _shard_count(count, workers, statistics)),
            _tile_rows(source, itemsize, elementwise, forms_product, views),
            _fan_in(count, workers, statistics, budget),
            groups,
            min(pool, len(bounds)),
        )
    return Plan(
        layout=layout,
        threads=count,
        bounds=bounds,
        shards=_shards(bounds, layout.shards),
        memory=budget,
        block_bytes=largest,
        shared_bytes=shared + count * statistics,
        rows_bytes=rows_bytes,
        rows_resident=rows_resident,
        cache_bytes=cache,
        resident=resident,
        source_bytes=size,
        given_memory=memory,
        workers=workers,
        statistics_bytes=statistics,
        reads=reads,
        pool_bytes=pool_bytes,
    )


def _shard_count(threads: int, workers: int, statistics: int) -> int:
    """How many shards keep the threads busy: several each where they are cheap to add up."""
    if workers:
        return workers * threads * (2 if statistics < MIB else 1)
    return threads * (4 if statistics < 4 * MIB and threads > 1 else 1)


def _fan_in(threads: int, workers: int, statistics: int, memory: int) -> int:
    """How many shards' statistics are added up at a time: those of one worker first, where there are many."""
    shards = _shard_count(threads, workers, statistics)
    fitting = max(2, memory // 4 // statistics)
    if not workers or shards <= min(FLAT, fitting):
        return 0
    return int(min(fitting, max(FAN_IN, shards // workers)))


def worker_budget(limit: int) -> int:
    """What a plan may use of a worker's memory `limit`."""
    return max(0, int(WORKER_SHARE * limit) - WORKER_BASE)


def worker_limit(budget: int) -> int:
    """The memory of a worker of which a plan may use `budget`."""
    return int((budget + WORKER_BASE) / WORKER_SHARE) + 2


def source_bytes(source: Source) -> int:
    """Bytes of the whole matrix as its blocks hold it in memory."""
    m, n = source.shape
    itemsize = np.dtype(source.dtype).itemsize
    bare = m * n * itemsize if source.nnz is None else source.nnz * (itemsize + 4) + m * 8
    return int(bare * (source.weight_cost if isinstance(source, Observed) else 1))


def _block_target(size: int, resident: bool, left: int, threads: int, spread: int, groups: int) -> int:
    # Enough blocks to balance the threads, in every group, none so small that its fixed costs show.
    even = size // (max(4, groups) * threads * spread)
    target = max(MIB if groups < 2 else MIB // 16, min(BLOCK, even))
    return target if resident else max(MIB // 16, min(target, left // (8 * threads)))


def _tile_rows(source: Source, itemsize: int, elementwise: bool, forms_product: bool, views: bool) -> int | None:
    m, n = source.shape
    if source.is_sparse and not forms_product:
        # Temporaries have the size of the stored entries; another matrix takes several times as much as X.
        return max(1, PRODUCT_TILE * m // source_bytes(source)) if views else None
    target = ELEMENTWISE_TILE if elementwise else PRODUCT_TILE
    least = 1 if source.is_sparse else 32
    return max(least, target // (n * itemsize))


def _shards(bounds: tuple[tuple[int, int], ...], count: int) -> tuple[range, ...]:
    """Contiguous runs of blocks, of about equal length: blocks of one source have about equal bytes."""
    edges = [round(i * len(bounds) / count) for i in range(count + 1)]
    return tuple(range(a, b) for a, b in pairwise(edges) if b > a)


_UNITS = {"": 1, "b": 1} | {
    prefix + tail: base**power
    for power, prefix in enumerate("kmgt", start=1)
    for tail, base in (("", 1024), ("b", 1000), ("ib", 1024))
}


def parse_size(text: str | int) -> int:
    """Bytes of `2GiB`, `500MB`, `1048576`; raises `UsageError` on anything else."""
    if isinstance(text, int) and not isinstance(text, bool) and text > 0:
        return text
    if not isinstance(text, str):
        raise UsageError(f"{text!r} is not a size; write a number of bytes, or like 500MB or 2GiB")
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([a-zA-Z]*)\s*", text)
    if not match or match[2].lower() not in _UNITS:
        raise UsageError(f"{text!r} is not a size; write a number of bytes, or like 500MB or 2GiB")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def enough_text(size: float) -> str:
    """What `size_text` makes of a size, rounded up: whoever allows that much allows enough."""
    text, shown = size_text(size), size
    while parse_size(text) < size:
        shown *= 1.01
        text = size_text(shown)
    return text


def size_text(size: float) -> str:
    """A size for people: `1.5 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
