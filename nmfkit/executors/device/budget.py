"""What the memory of a device is spent on, and how a fit is laid out for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from nmfkit.errors import UsageError
from nmfkit.executors.device.missing import free_bytes
from nmfkit.executors.plan import (
    BASE,
    BLOCK,
    MIB,
    Layout,
    Plan,
    enough_text,
    make_plan,
    size_text,
    source_bytes,
    worker_limit,
)
from nmfkit.executors.refusal import TooLittle, sufficing
from nmfkit.executors.resources import available_threads, free_memory
from nmfkit.kernels.cuda.pattern import sums_bytes
from nmfkit.protocols import Source

SHARE = 0.85
"""Part of the device's free memory that a fit takes unless it is told: libraries and others want some."""
ASSUMED = 16 * 1024 * MIB
"""Memory of a device that nobody can ask."""
TARGET = 1024 * MIB
"""Largest block that stays: what a step costs besides its work on the device is then small."""
PASSING = 256 * MIB
"""Largest block that passes through: larger ones only take room on both sides."""
PIECE = 16 * MIB
"""Page-locked memory that a thread writes to while another piece is copied."""
LEAST = MIB // 16
"""Block below which nothing is gained by a smaller one."""
SLOTS = 3
"""Buffers of the ring: one is computed on, one is being copied to, one is ready."""
READERS = 4
"""Threads that read and copy blocks, at most."""
DENSE_COPIES = 6
"""Arrays of a block's shape that a step makes beside it where it works by entry: the fit, ratios, what is summed."""
SMALL = 128 * 512
"""Bytes of the many small arrays of a step, of which each takes 512 at least."""
LOOK_COPIES = 2
"""Arrays of a dense block's shape, in float64, that looking at the data makes before anything is fitted."""
PATTERN = 16
"""Bytes for each stored entry of a sparse block of what is kept of its transpose."""
PRODUCTS = 2
"""Products of a sparse block with a factor whose parts of sums are there at a time."""
COPIES = 8
"""Copies of a block's rows of W, in float64 where they are sums, that a step makes."""


@dataclass(frozen=True)
class DevicePlan:
    """How the `memory` bytes of a device are divided: figures are estimates of peaks, in bytes.

    `cache_bytes` of X stay on the device (all of it, where it is `resident`), with `pattern_bytes` of what is kept of
    transposes, and the rest passes through `slots` buffers of `slot_bytes`. `step_bytes` are temporaries of a step. W
    is on the device where `rows_resident`. `sent_per_sweep` and `returned_per_sweep` are what crosses over to the
    device and back. `readers` threads of the host read and copy, through `pieces` pieces of page-locked memory.
    """

    memory: int
    shared_bytes: int
    rows_bytes: int
    rows_resident: bool
    block_bytes: int
    slots: int
    slot_bytes: int
    cache_bytes: int
    pattern_bytes: int
    resident: bool
    step_bytes: int
    sent_per_sweep: int
    returned_per_sweep: int
    readers: int
    pieces: int
    piece_bytes: int

    def describe(self) -> dict[str, Any]:
        """The plan in plain values."""
        return asdict(self)


@dataclass(frozen=True)
class _Needs:
    """What a fit of `source` takes on a device, in bytes."""

    source: Source
    width: int
    itemsize: int
    by_entry: bool
    forms_product: bool
    rows_width: int
    reads: int
    shared: int
    draws: bool
    groups: int
    workers: int

    @property
    def x(self) -> int:
        """X."""
        return source_bytes(self.source)

    @property
    def share(self) -> int:
        """The part of X that one device works on, with some room for parts that are not quite even."""
        return self.x if not self.workers else min(self.x, int(1.1 * self.x / self.workers))

    @property
    def rows(self) -> int:
        """The rows of W before and after a sweep."""
        return 2 * self.source.shape[0] * self.rows_width * self.itemsize

    @property
    def pattern(self) -> int:
        """What is kept of the transposes of sparse blocks that stay."""
        return PATTERN * (self.source.nnz or 0) * self.share // max(1, self.x)

    def beside(self, rows: int) -> int:
        """Rows of W that come along with a block of so many rows, where W is on the host."""
        return rows * self.rows_width * self.itemsize

    def most_rows(self, target: int) -> int:
        """The rows that a block of `target` bytes has at most, as far as rows are alike."""
        m = self.source.shape[0]
        # Sources count 4 bytes for where a sparse row begins, of the 8 that these may take.
        alike = self.x if self.source.nnz is None else self.x - 4 * m
        return max(1, int(1.02 * m * target / max(1, alike)))

    def block(self, rows: int, target: int) -> int:
        """A block of so many rows; sparse ones have as many as `target` bytes hold, some few and some many."""
        share = self.x * rows // max(1, self.source.shape[0])
        return max(1, share if self.source.nnz is None else max(share, min(target, self.x)))

    def step(self, rows: int, target: int) -> int:
        """Temporaries of a step on a block of so many rows, or of `target` bytes."""
        m, n = self.source.shape
        made = SMALL + COPIES * rows * self.width * 8
        if self.source.nnz is not None:
            stored = max(self.source.nnz * rows // max(1, m), min(self.source.nnz, target // (self.itemsize + 4)))
            made += stored * (PATTERN + DENSE_COPIES * self.itemsize) + PRODUCTS * sums_bytes(stored, self.width)
        if self.forms_product or (self.by_entry and self.source.nnz is None):
            made += DENSE_COPIES * rows * n * self.itemsize
        elif self.source.nnz is None:
            made += LOOK_COPIES * rows * n * 8
        return made


def device_plan(
    source: Source,
    *,
    device_memory: int,
    memory: int | None,
    threads: int | None = None,
    layout: Layout | None = None,
    workers: int = 0,
    **needs: Any,
) -> Plan:
    """Lay out a fit on a device within `device_memory` bytes of it and `memory` of the host (None: half of the free).

    With `workers`, both are those of each of them, and the rows of W are where workers keep them. `needs` are those of
    `make_plan`. Raises `UsageError` where the shared factors and a block do not fit either.
    """
    given = {"device_memory": device_memory, "memory": memory, "threads": threads, "layout": layout, "workers": workers}
    return sufficing(partial(_planned, source), {**given, **needs})


def _planned(
    source: Source,
    *,
    device_memory: int,
    memory: int | None,
    threads: int | None,
    layout: Layout | None,
    workers: int,
    **needs: Any,
) -> Plan:
    wanted = _wanted(source, needs, layout, workers)
    host = memory if memory is not None else free_memory() // 2
    readers = _readers(
        wanted, device_memory, host, READERS if workers else min(READERS, threads or available_threads())
    )
    if layout is None:
        layout = _layout(wanted, device_memory, host, readers, needs, memory)
    target = layout.target
    bounds = source.bounds(target)
    tallest = max(hi - lo for lo, hi in bounds)
    divided = _divided(wanted, device_memory, target, tallest, readers)
    staging = divided.pieces * divided.piece_bytes
    staging += 0 if source.resident else (readers - 1) * 3 * divided.block_bytes
    _refuse_too_much(source, memory, staging, workers)
    groups = max(1, min(layout.groups, len(bounds)))
    plan = make_plan(
        source,
        **needs,
        memory=memory,
        besides=0 if memory is None else staging,
        threads=1 if workers else readers,
        # One thread gives the device its work, in whole blocks: it is wide enough for them.
        layout=replace(layout, tile_rows=None, shards=max(layout.shards, groups), groups=groups),
        workers=workers,
    )
    cache = 0 if divided.resident else plan.cache_bytes
    return replace(plan, device=divided, memory=host, given_memory=memory, cache_bytes=cache)


def _readers(needs: _Needs, device_memory: int, host: int, most: int) -> int:
    """Threads that read and copy: rather fewer than blocks smaller than the chunks of most stores."""
    while most > 1 and _target(needs, device_memory, host, most) < min(BLOCK, needs.x):
        most //= 2
    return most


def _layout(
    wanted: _Needs, device_memory: int, host: int, readers: int, needs: dict[str, Any], memory: int | None
) -> Layout:
    groups = max(1, wanted.groups)
    target = _target(wanted, device_memory, host, readers)
    fits = wanted.x + wanted.pattern + wanted.shared + wanted.rows <= device_memory // 2
    if not wanted.workers and (fits or not wanted.draws):
        return Layout(target, groups, None, 0, groups, 0)
    # Of workers each has its shards, and batches are formed on the host, of blocks as that would have them.
    here = make_plan(wanted.source, **needs, memory=memory, threads=1, workers=wanted.workers).layout
    target = min(target, here.target) if wanted.draws else target
    shards = min(len(wanted.source.bounds(target)), max(here.shards, wanted.workers))
    return replace(here, target=target, shards=shards)


def memory_here(given: int | None) -> int:
    """The budget of the device's memory: `given`, or a part of what is free on one that is here, or an assumption."""
    if given is not None:
        return given
    free = free_bytes()
    return ASSUMED if free is None else int(SHARE * free)


def _wanted(source: Source, needs: dict[str, Any], layout: Layout | None, workers: int) -> _Needs:
    n, itemsize = source.shape[1], np.dtype(needs["dtype"]).itemsize
    wide = needs.get("shared_width") or needs["width"]
    statistics = 2 * wide * n * 8
    groups = layout.groups if layout else needs.get("groups", 0)
    copies = 4 if needs.get("shared_width") is None else 8
    return _Needs(
        source,
        needs["width"],
        itemsize,
        needs["elementwise"],
        needs["forms_product"] or needs.get("views", False),
        needs.get("row_copies", 1) * needs["width"],
        needs.get("reads", 1),
        copies * wide * n * itemsize + (4 + groups) * statistics,
        needs.get("draws", False),
        groups,
        workers,
    )


def _target(needs: _Needs, memory: int, host: int, readers: int) -> int:
    """The size of a block of which all that has to be there at once has room on both sides."""
    parts = max(1, needs.workers) * (max(4, needs.groups) if needs.groups > 1 else 1)
    target = min(TARGET, max(needs.x // parts, LEAST))
    while target > LEAST:
        rows = needs.most_rows(target)
        beside = 0 if _rows_stay(needs, memory) else SLOTS * (needs.beside(rows) + 256)
        there = needs.shared + needs.step(rows, target) + beside + _staying_rows(needs, memory)
        stays = there + needs.share + needs.pattern + MIB <= memory
        passes = target <= PASSING and there + SLOTS * (target + 8 * 256) <= memory
        here = (readers + 2) * min(PIECE, target) + (0 if needs.source.resident else 3 * readers * target)
        if (stays or passes) and here <= 0.8 * (host - (0 if needs.workers else BASE)):
            break
        target //= 2
    return max(target, LEAST)


def _rows_stay(needs: _Needs, memory: int) -> bool:
    return not needs.workers and needs.rows <= max(0, memory - needs.shared) // 2


def _staying_rows(needs: _Needs, memory: int) -> int:
    return needs.rows if _rows_stay(needs, memory) else 0


def _divided(needs: _Needs, memory: int, target: int, tallest: int, readers: int) -> DevicePlan:
    block = needs.block(tallest, target) + 8 * 256
    step = needs.step(tallest, target)
    blocks = len(needs.source.bounds(target))
    whole = needs.share + blocks * 8 * 256
    for stays in (True, False) if _rows_stay(needs, memory) else (False,):
        beside = 0 if stays else needs.beside(tallest) + 256
        left = memory - needs.shared - step - (needs.rows if stays else 0)
        resident = whole + needs.pattern + SLOTS * beside <= left
        slot = beside + (0 if resident else block)
        through = SLOTS * slot
        if left >= through:
            break
    if left < through:
        small = (
            f"{size_text(memory)} of the device's memory are too little: the shared factors and statistics take "
            f"{size_text(needs.shared)}, a step on a block of {size_text(block)} {size_text(step)}, and {SLOTS} such "
            f"blocks {size_text(through)}"
        )
        raise TooLittle(
            lambda enough: (
                f"{small}; allow {enough_text(enough)} or more (--device-memory), lower the rank, or "
                "convert the matrix to smaller chunks"
            ),
            memory - left + through,
            "device_memory",
        )
    per_entry = (whole + needs.pattern) / max(1, whole)
    cache = whole if resident else int((left - through) / per_entry)
    crossing = 0 if resident else needs.reads * max(0, needs.share - cache)
    crossing_rows = 0 if stays else needs.rows // 2 // max(1, needs.workers)
    return DevicePlan(
        memory=memory,
        shared_bytes=needs.shared,
        rows_bytes=needs.rows,
        rows_resident=stays,
        block_bytes=block,
        slots=SLOTS,
        slot_bytes=slot,
        cache_bytes=cache,
        pattern_bytes=int(cache * (per_entry - 1)),
        resident=resident,
        step_bytes=step,
        sent_per_sweep=crossing + crossing_rows,
        returned_per_sweep=crossing_rows,
        readers=readers,
        pieces=readers + 2,
        piece_bytes=max(256, min(PIECE, block + (0 if stays else needs.beside(tallest)))),
    )


def _refuse_too_much(source: Source, memory: int | None, staging: int, workers: int) -> None:
    base = 0 if workers else BASE  # what is left of a worker's memory is for a fit alone
    if memory is None or staging + base <= memory:
        return
    needed = f"{size_text(staging)} are needed for blocks of {source.uri} on their way to the device"
    if workers:
        raise UsageError(
            f"the memory of a worker is too small, {size_text(memory)} of it are left for a fit: {needed}; give each "
            f"{enough_text(worker_limit(2 * staging))} or more (--memory, and dask's own limit where that is lower), "
            "or convert the matrix to smaller chunks"
        )
    raise TooLittle(
        lambda enough: (
            f"the memory budget of {size_text(memory)} is too small: {needed}, and {size_text(BASE)} for "
            f"the program; allow --memory {enough_text(enough)} or more, or convert the matrix to smaller chunks"
        ),
        staging + 2 * BASE,
        "memory",
    )
