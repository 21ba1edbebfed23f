"""Room on the device for blocks of X: a ring of buffers that they pass through, and a store for those that stay."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from nmfkit.blocks import Block
from nmfkit.executors.device.runtime import Buffer, Runtime
from nmfkit.executors.device.staging import Staging, rounded, travels
from nmfkit.leaves import mapped
from nmfkit.protocols import Rows


@dataclass(frozen=True)
class Staged:
    """A block on its way to the device, and rows of W beside it; `arrived` is the mark after which they are there.

    Without one they are on the host.
    """

    block: Block
    rows: Rows
    arrived: Any = None
    slot: Slot | None = None


@dataclass
class Slot:
    """A buffer on the device, made when it is first needed; `used` is the mark after which it may be filled."""

    buffer: Buffer | None = None
    used: Any = None


def held_bytes(value: Any) -> int:
    """Bytes that the host arrays in `value` take in a buffer."""
    sizes: list[int] = []
    mapped(value, lambda part: sizes.append(rounded(part.nbytes)) if travels(part) else part)
    return sum(sizes)


class Ring:
    """`slots` buffers of `size` bytes: blocks are copied into one while another is computed on.

    Threads that read call `stage`, which waits for a free buffer; the thread that computes calls `free` when all that
    it has to do with a block is in its queue.
    """

    def __init__(self, runtime: Runtime, staging: Staging, slots: int, size: int) -> None:
        self._runtime, self._staging, self._size = runtime, staging, size
        self._slots = [Slot() for _ in range(slots)]
        self._free: SimpleQueue[Slot] = SimpleQueue()
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
        self._runtime.wait(self._staging.queue, slot.used)
        there, beside = mapped((block, rows), Copying(self._staging, slot.buffer))
        return Staged(there, beside, self._runtime.mark(self._staging.queue), slot)

    def free(self, staged: Staged) -> None:
        """Let the next block into the buffer, after the computations so far."""
        if (slot := staged.slot) is not None:
            slot.used = self._runtime.mark()
            self._free.put(slot)

    def close(self) -> None:
        """Give all memory back; nothing is copied or computed any more."""
        for slot in self._slots:
            if slot.buffer is not None:
                slot.buffer.free()
                slot.buffer = None


class Copying:
    """Host arrays into a buffer of the device, one after the other."""

    def __init__(self, staging: Staging, buffer: Buffer, offset: int = 0) -> None:
        self._staging, self._buffer, self._offset = staging, buffer, offset

    def __call__(self, value: Any) -> Any:
        """The array on the device, to be filled; anything else as it is."""
        if not travels(value):
            return value
        target = self._buffer.view(self._offset, value.shape, value.dtype)
        self._staging.copy(value, self._buffer, self._offset)
        self._offset += rounded(value.nbytes)
        return target


class Residence:
    """Blocks that stay on the device, in `size` bytes of it: first come, as every sweep takes them in one order."""

    def __init__(self, runtime: Runtime, staging: Staging, size: int) -> None:
        self._runtime, self._staging, self._size, self._used = runtime, staging, size, 0
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

    def take(self, index: int, block: Block) -> Staged | None:
        """Begin to copy a block to its place here; None without room."""
        offset = self._room(held_bytes(block))
        if offset is None or self._buffer is None:
            return None
        there = mapped(block, Copying(self._staging, self._buffer, offset))
        staged = self._blocks[index] = Staged(there, {}, self._runtime.mark(self._staging.queue))
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
            self._buffer = None
