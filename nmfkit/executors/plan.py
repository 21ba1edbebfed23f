"""How a fit is laid out on this machine: blocks, tiles, shards, and what the memory budget is spent on."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from nmfkit.errors import UsageError
from nmfkit.protocols import Source

MIB = 2**20
ELEMENTWISE_TILE = MIB
"""Bytes of X in a tile whose temporaries should stay in a core's second-level cache."""
PRODUCT_TILE = 4 * MIB
"""Bytes of X in a tile that is only multiplied: large enough for the products' full speed."""
BLOCK = 16 * MIB
"""Largest block that is read at once, unless one chunk is larger."""


@dataclass(frozen=True)
class Layout:
    """What decides in which order numbers are added: two fits of one layout agree bit for bit.

    `target` is the size of a block asked for in bytes, `shards` their number, `tile_rows` the most rows a step sees
    at once (None: whole blocks).
    """

    target: int
    shards: int
    tile_rows: int | None


@dataclass(frozen=True)
class Plan:
    """The layout of a fit on this machine.

    `bounds` are the row ranges of the blocks, `shards` ranges of block indices that one thread runs in order. Byte
    figures are estimates of peaks.
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

    @property
    def tile_rows(self) -> int | None:
        """The most rows a step sees at once; None: whole blocks."""
        return self.layout.tile_rows

    @property
    def bytes_per_sweep(self) -> int:
        """Bytes of X that a sweep reads from outside this process's memory."""
        return 0 if self.resident else max(0, self.source_bytes - self.cache_bytes)

    def describe(self) -> dict[str, Any]:
        """The plan in plain values."""
        return {
            "threads": self.threads,
            "blocks": len(self.bounds),
            "rows_per_block": max(hi - lo for lo, hi in self.bounds),
            "block_bytes": self.block_bytes,
            "tile_rows": self.tile_rows,
            "shards": len(self.shards),
            "memory_budget": self.memory,
            "shared_and_statistics_bytes": self.shared_bytes,
            "w_bytes": self.rows_bytes,
            "w_in_memory": self.rows_resident,
            "cache_bytes": self.cache_bytes,
            "source_bytes": self.source_bytes,
            "read_per_sweep_bytes": self.bytes_per_sweep,
        }


def make_plan(
    source: Source,
    *,
    width: int,
    dtype: Any,
    elementwise: bool,
    forms_product: bool,
    memory: int | None = None,
    threads: int | None = None,
    layout: Layout | None = None,
) -> Plan:
    """Lay out a fit whose row factors have `width` columns in all, within `memory` bytes (None: half of what is free).

    With `layout`, that of an earlier plan is kept. Raises `UsageError` when the shared factors and one block a thread
    do not fit.
    """
    m, n = source.shape
    itemsize = np.dtype(dtype).itemsize
    workers = threads or available_threads()
    budget = memory if memory is not None else free_memory() // 2
    # One H and its successor, float64 statistics of two halves for each thread, and the rule's temporaries.
    statistics = 2 * width * n * 8
    shared = 2 * width * n * itemsize + 3 * statistics
    size = source_bytes(source)
    resident = source.resident
    rows_bytes = 2 * m * width * itemsize
    if memory is None and shared + statistics > 2 * budget:
        raise UsageError(
            f"{width} components of {n:,} features take {size_text(shared + statistics)} with their statistics, and "
            f"{size_text(2 * budget)} of memory are free: choose a lower rank, or put the longer side on the rows "
            "(nmfkit convert --transpose)"
        )
    left = budget - shared - statistics
    workers = max(1, min(workers, left // max(1, 2 * statistics))) if memory is not None else workers
    target = layout.target if layout else _block_target(size, resident, left, workers)
    bounds = tuple(source.bounds(target))
    largest = max(size * (hi - lo) // m for lo, hi in bounds)
    workers = min(workers, len(bounds))
    # A block in work, the next one being read, and what the reader holds besides.
    in_flight = 0 if resident else workers * 3 * largest
    left = budget - shared - workers * statistics - in_flight
    if left < 0 and memory is not None:
        raise UsageError(
            f"the memory budget of {size_text(budget)} is too small: the shared factors and statistics take "
            f"{size_text(shared + workers * statistics)} and {workers} thread(s) with blocks of {size_text(largest)} "
            f"take {size_text(in_flight)}; allow --memory {size_text(budget - left + largest)} or more, "
            "or convert the matrix to smaller chunks"
        )
    rows_resident = rows_bytes <= max(0, left) * 0.6 or memory is None
    left -= rows_bytes if rows_resident else 0
    cache = 0 if resident else max(0, min(int(left * 0.8), size))
    layout = layout or Layout(
        target,
        min(len(bounds), workers * (4 if statistics < 4 * MIB and workers > 1 else 1)),
        _tile_rows(source, n, itemsize, elementwise, forms_product),
    )
    return Plan(
        layout=layout,
        threads=workers,
        bounds=bounds,
        shards=_shards(len(bounds), layout.shards),
        memory=budget,
        block_bytes=largest,
        shared_bytes=shared + workers * statistics,
        rows_bytes=rows_bytes,
        rows_resident=rows_resident,
        cache_bytes=cache,
        resident=resident,
        source_bytes=size,
        given_memory=memory,
    )


def source_bytes(source: Source) -> int:
    """Bytes of the whole matrix as its blocks hold it in memory."""
    m, n = source.shape
    itemsize = np.dtype(source.dtype).itemsize
    if source.nnz is None:
        return int(m * n * itemsize)
    return int(source.nnz * (itemsize + 4) + m * 8)


def _block_target(size: int, resident: bool, left: int, workers: int) -> int:
    # Enough blocks to balance the threads, none so small that its fixed costs show.
    even = size // (4 * workers)
    target = max(MIB, min(BLOCK, even))
    return target if resident else max(MIB // 16, min(target, left // (8 * workers)))


def _tile_rows(source: Source, n: int, itemsize: int, elementwise: bool, forms_product: bool) -> int | None:
    if source.is_sparse and not forms_product:
        return None  # temporaries have the size of the stored entries
    target = ELEMENTWISE_TILE if elementwise else PRODUCT_TILE
    least = 1 if source.is_sparse else 32
    return max(least, target // (n * itemsize))


def _shards(blocks: int, count: int) -> tuple[range, ...]:
    """Contiguous runs of blocks, of about equal length: blocks of one source have about equal bytes."""
    edges = [round(i * blocks / count) for i in range(count + 1)]
    return tuple(range(a, b) for a, b in pairwise(edges) if b > a)


def available_threads() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def free_memory() -> int:
    """Bytes of memory that could be had now, as far as the system tells; 4 GiB where it does not."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return 4 * 2**30


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


def size_text(size: float) -> str:
    """A size for people: `1.5 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
