"""Room on the device for blocks of X: a ring of buffers that they pass through, and a store for those that stay."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.executors.device.runtime import Buffer, Runtime
from nmfkit.leaves import mapped
from nmfkit.protocols import Rows

ALIGNED = 256
"""Bytes that every array in a buffer begins at a multiple of."""


@dataclass(frozen=True)
class Staged:
    """A block on its way to the device, and rows of W beside it; `arrived` is the mark after which they are there."""

    block: Block
    rows: Rows
    arrived: Any = None
    slot: Slot | None = None


@dataclass
class Slot:
    """Page-locked memory and its twin on the device, made when it is first needed.

    `filled` and `used` are the marks of the last block.
    """

    pinned: Array
    buffer: Buffer | None = None
    filled: Any = None
    used: Any = None


def held_bytes(value: Any) -> int:
    """Bytes that the host arrays in `value` take in a buffer."""
    sizes: list[int] = []
    mapped(value, lambda part: sizes.append(_rounded(part.nbytes)) if travels(part) else part)
    return sum(sizes)


def travels(value: Any) -> bool:
    """Whether `value` is an array of numbers on the host."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "biufc"


def _rounded(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED


class Ring:
    """`slots` buffers of `size` bytes: blocks are copied into one while another is computed on.

    Threads that read call `stage`, which waits for a free buffer; the thread that computes calls `free` when all that
    it has to do with a block is in its queue.
    """

    def __init__(self, runtime: Runtime, slots: int, size: int) -> None:
        self._runtime, self._size = runtime, size
        self._queue = runtime.queue()
        self._free: SimpleQueue[Slot] = SimpleQueue()
        self._slots = [Slot(runtime.pinned(size)) for _ in range(slots)]
        for slot in self._slots:
            self._free.put(slot)

    def fits(self, value: Any) -> bool:
        """Whether the arrays in `value` have room in a buffer: sparse blocks may be larger than most."""
        return held_bytes(value) <= self._size

    def stage(self, block: Block, rows: Rows) -> Staged:
        """Begin to copy a block and rows that fit."""
        slot = self._free.get()
        try:
            return self._filled(slot, block, rows)
        except BaseException:
            self._free.put(slot)
            raise

    def _filled(self, slot: Slot, block: Block, rows: Rows) -> Staged:
        if slot.buffer is None:
            slot.buffer = self._runtime.buffer(self._size)
            slot.used = self._runtime.mark()  # the bytes may be those of an array that is still computed on
        if slot.used is not None:
            self._runtime.wait(self._queue, slot.used)
        there, beside = self._copied((block, rows), slot, slot.buffer)
        return Staged(there, beside, slot.filled, slot)

    def pass_through(self, block: Block, buffer: Buffer, offset: int) -> Staged:
        """Begin to copy a block into another buffer, by way of a slot's page-locked memory."""
        slot = self._free.get()
        try:
            there = self._copied(block, slot, buffer, offset)
            return Staged(there, {}, slot.filled)
        finally:
            self._free.put(slot)

    def _copied(self, value: Any, slot: Slot, buffer: Buffer, offset: int = 0) -> Any:
        if slot.filled is not None:
            self._runtime.settle(slot.filled)  # what was copied from the page-locked memory has left it
        there = mapped(value, Copying(self._runtime, self._queue, buffer, slot.pinned, offset))
        slot.filled = self._runtime.mark(self._queue)
        return there

    def free(self, staged: Staged) -> None:
        """Let the next block into the buffer, after the computations so far."""
        if (slot := staged.slot) is not None:
            slot.used = self._runtime.mark()
            self._free.put(slot)

    def close(self) -> None:
        """Give all memory back; nothing is computed on it any more."""
        for slot in self._slots:
            if slot.filled is not None:
                self._runtime.settle(slot.filled)
            if slot.buffer is not None:
                slot.buffer.free()


class Copying:
    """Host arrays into a buffer of the device, one after the other, by way of page-locked memory."""

    def __init__(self, runtime: Runtime, queue: Any, buffer: Buffer, pinned: Array, offset: int = 0) -> None:
        self._runtime, self._queue, self._buffer, self._pinned = runtime, queue, buffer, pinned
        self._first = self._offset = offset

    def __call__(self, value: Any) -> Any:
        """The array on the device, to be filled; anything else as it is."""
        if not travels(value):
            return value
        target = self._buffer.view(self._offset, value.shape, value.dtype)
        if value.size:
            at = self._offset - self._first
            between = self._pinned[at : at + value.nbytes].view(value.dtype).reshape(value.shape)
            np.copyto(between, value)
            self._runtime.put(target, between, self._queue)
        self._offset += _rounded(value.nbytes)
        return target


class Residence:
    """Blocks that stay on the device, in `size` bytes of it: first come, as every sweep takes them in one order."""

    def __init__(self, runtime: Runtime, size: int) -> None:
        self._runtime, self._size, self._used = runtime, size, 0
        self._buffer = runtime.buffer(size) if size else None
        runtime.settle(runtime.mark())  # the bytes may be those of an array that is still computed on
        self._blocks: dict[int, Staged] = {}
        self._lock = threading.Lock()

    def get(self, index: int) -> Staged | None:
        """The block of that number, if it is here or on its way."""
        return self._blocks.get(index)

    def might_take(self, size: int) -> bool:
        """Whether there is room for `size` bytes more."""
        return self._used + size <= self._size

    def take(self, index: int, block: Block, ring: Ring) -> Staged | None:
        """Begin to copy a block to its place here, by way of the ring's page-locked memory; None without room."""
        if not ring.fits(block):
            return None
        offset = self._room(held_bytes(block))
        if offset is None or self._buffer is None:
            return None
        staged = ring.pass_through(block, self._buffer, offset)
        self._blocks[index] = staged
        return staged

    def _room(self, size: int) -> int | None:
        with self._lock:
            if self._used + size > self._size:
                return None
            offset, self._used = self._used, self._used + size
            return offset

    def close(self) -> None:
        """Give all memory back."""
        self._blocks.clear()
        if self._buffer is not None:
            self._buffer.free()
