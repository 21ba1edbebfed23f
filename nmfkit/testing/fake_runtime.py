"""`FakeRuntime`: a device that exists in memory only, and does everything as late and as unkindly as it may."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.array_utils import byte_bounds

from nmfkit.blocks import Array
from nmfkit.executors.device.runtime import Memory
from nmfkit.testing.device import StrictArray
from nmfkit.testing.ordering import Clock, DeviceFault, Uses, merge
from nmfkit.testing.pinned import POISON, PinnedMemory
from nmfkit.testing.watched import memory_of, watched


class Call(NamedTuple):
    """A call of the runtime, or the beginning ("step") and end ("stepped") of a step.

    `in_flight` is the number of copies that were asked for and not done then.
    """

    kind: str
    size: int = 0
    queue: Hashable = None
    in_flight: int = 0


class Mark(NamedTuple):
    """A point in a queue: what is done when it is reached."""

    clock: Clock


@dataclass
class Room:
    """A run of memory of the device; `kept` where an executor asked for it, `home` is the queue that it came from."""

    size: int
    home: Hashable
    kept: bool = False
    buffer: Array | None = None
    uses: Uses = field(default_factory=Uses)
    freed: bool = False


class FakeBuffer:
    """A run of bytes of the fake device."""

    def __init__(self, runtime: FakeRuntime, size: int) -> None:
        self._runtime, self.size = runtime, size
        self.bytes = np.full(size, POISON, np.uint8)

    def view(self, offset: int, shape: tuple[int, ...], dtype: Any) -> Any:
        """An array in these bytes; raises `DeviceFault` where it would not lie in them, or not on whole entries."""
        dtype = np.dtype(dtype)
        end = offset + dtype.itemsize * int(np.prod(shape))
        if not 0 <= offset <= end <= self.size:
            raise DeviceFault(f"bytes {offset} … {end} of a buffer of {self.size}")
        if offset % dtype.itemsize:
            raise DeviceFault(f"an array of {dtype} begins at byte {offset}")
        return self._runtime.view(self.bytes[offset:end].view(dtype).reshape(shape))

    def free(self) -> None:
        """Give the bytes back."""
        self._runtime.release(self)


class FakeRuntime:
    """A device of `memory` bytes, for as long as it is entered; there is one at a time.

    Computations are done at once; a copy only when something waits for it, or never, and what it is to fill holds
    poison until then. What a real device would let pass, and answer with wrong numbers, raises `DeviceFault`, at the
    latest when the runtime is left: the use of memory that another queue may still use or that was given back,
    page-locked memory that changes while a copy may read it, a thread that is not `active`, and an array made a
    number outside of `stepping`. `calls` is the record; `peak` the most bytes that were taken at any time, `kept_peak`
    the most without results of computations.
    """

    name = "a device that exists in memory only"

    def __init__(self, memory: int = 2**30) -> None:
        self.total = memory
        self.calls: list[Call] = []
        self.taken = self.peak = self.kept = self.kept_peak = 0
        self._lock, self._local, self._open = threading.RLock(), threading.local(), ExitStack()
        self._rooms: dict[int, Room] = {}
        self._clocks: dict[Hashable, Clock] = {}
        self._host: Clock = {}
        self._settled, self._informed = 0, dict[Hashable, int]()
        self._faults: list[str] = []
        self._pinned = PinnedMemory(self._faults)

    def __enter__(self) -> FakeRuntime:
        self._open.enter_context(watched(self))
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._open.close()
        with self._lock:
            self._pinned.compare()
        if error is None:
            self._tell_faults()

    # --- what an executor asks for --------------------------------------------------------------------------

    def memory(self) -> Memory:
        """Bytes that are not taken, and all."""
        with self._using():
            return Memory(self.total - self.taken, self.total)

    @contextmanager
    def active(self) -> Iterator[None]:
        """The calling thread may use the device."""
        self._local.depth = getattr(self._local, "depth", 0) + 1
        try:
            yield
        finally:
            self._local.depth -= 1

    def holds(self, value: Any) -> bool:
        """Whether it is an array of the device."""
        return isinstance(value, StrictArray)

    def pinned(self, size: int) -> Array:
        """Bytes of the host; they hold poison."""
        with self._using():
            self._note("pinned", size)
            return self._pinned.made(size)

    def buffer(self, size: int) -> FakeBuffer:
        """Bytes of the device; they hold poison."""
        with self._using():
            self._afford(size)
            made = FakeBuffer(self, size)
            room = self._enter(made.bytes)
            room.buffer = made.bytes
            # Memory comes from a pool: computations that were asked for earlier may still use it.
            room.uses.note(self._called(None), (0, size), writes=True)
            self._keep(room)
            self._note("buffer", size)
            return made

    def queue(self) -> Hashable:
        """A queue of copies."""
        with self._using():
            name = f"copies {len(self._clocks)}"
            self._clocks[name] = {}
            return name

    def put(self, target: Any, pinned: Array, queue: Hashable) -> None:
        """Ask for a copy to the device."""
        with self._using():
            self._pinned.check(pinned, target)
            call = self._use(target, queue, writes=True)
            self._pinned.ask(call, pinned, target._host, self._rooms[id(memory_of(target))].buffer is not None)
            self._note("put", pinned.nbytes, queue)

    def take(self, target: Array, array: Any, queue: Hashable) -> None:
        """Ask for a copy from the device."""
        with self._using():
            self._pinned.check(target, array)
            call = self._use(array, queue, writes=False)
            self._pinned.ask_back(call, target, array._host)
            self._note("take", target.nbytes, queue)

    def mark(self, queue: Hashable = None) -> Mark:
        """What is done when `queue` has come here."""
        with self._using():
            return Mark(dict(self._clock(queue)))

    def wait(self, queue: Hashable, mark: Mark) -> None:
        """Let `queue` know what is done at `mark`."""
        with self._using():
            merge(self._clock(queue), mark.clock)
            self._note("wait", queue=queue)
            if queue is None:
                self._pinned.deliver(mark.clock, puts_only=True)

    def settle(self, mark: Mark) -> None:
        """Let the host know what is done at `mark`."""
        with self._using():
            self._reach(mark.clock)
            self._note("settle")

    def send(self, array: Array) -> Any:
        """A copy on the device."""
        with self._using():
            sent = StrictArray(array.copy(order="K"))
            self._keep(self._rooms[id(memory_of(sent))])
            self._note("send", array.nbytes)
            return sent

    def fetch(self, array: Any) -> Array:
        """A copy on the host."""
        with self._using():
            self._use(array, None, writes=False)
            self._reach(self._clock(None))
            self._note("fetch", array.nbytes)
            copy: Array = array._host.copy()
            return copy

    def give_back(self) -> None:
        """Nothing is kept for later."""

    # --- what tests ask for ---------------------------------------------------------------------------------

    @contextmanager
    def numbers(self, *, allowed: bool) -> Iterator[None]:
        """Whether what the calling thread does here may turn arrays into numbers; at first it may not."""
        before, self._local.numbers = self._may_wait, allowed
        try:
            yield
        finally:
            self._local.numbers = before

    @contextmanager
    def stepping(self) -> Iterator[None]:
        """A step of a model, which may turn arrays into numbers."""
        self._note("step")
        try:
            with self.numbers(allowed=True):
                yield
        finally:
            self._note("stepped")

    def bytes_of(self, *kinds: str) -> int:
        """Bytes of all calls of these kinds."""
        return sum(call.size for call in self.calls if call.kind in kinds)

    def count(self, *kinds: str) -> int:
        """Calls of these kinds."""
        return sum(call.kind in kinds for call in self.calls)

    # --- what it hears of arrays ----------------------------------------------------------------------------

    def made(self, array: StrictArray) -> None:
        """An array: memory of its own counts for as long as any array lies in it."""
        owner = memory_of(array)
        if id(owner) in self._rooms:
            return
        with self._using():
            self._afford(owner.nbytes)
            self._enter(owner)
            weakref.finalize(owner, self._dropped, id(owner)).atexit = False
            self._use(array, None, writes=True)

    def read(self, array: StrictArray) -> None:
        """Computed with."""
        with self._using():
            self._use(array, None, writes=False)

    def written(self, array: StrictArray) -> None:
        """Changed."""
        with self._using():
            self._use(array, None, writes=True)

    def waited_for(self, array: StrictArray, what: str) -> None:
        """Made a number."""
        with self._using():
            self._use(array, None, writes=False)
            if not self._may_wait:
                raise DeviceFault(f"{what} of a device array outside of a step waits for the device")
            self._reach(self._clock(None))
            self._note("number", array.nbytes)

    # --- what buffers ask for -------------------------------------------------------------------------------

    def view(self, host: Array) -> StrictArray:
        """An array in a buffer."""
        with self._using():
            self._refuse_freed(self._rooms[id(memory_of(host))])
            return StrictArray(host)

    def release(self, buffer: FakeBuffer) -> None:
        """Take bytes back, unless a queue may still use them."""
        with self._using():
            room = self._rooms[id(buffer.bytes)]
            self._refuse_freed(room)
            if (queue := self._in_use(room)) is not None:
                raise DeviceFault(f"a buffer was freed, and the {queue} may still use it")
            room.freed = True
            buffer.bytes[...] = POISON
            self._give_back(room)
            self._note("free", room.size)

    # --- how it is done -------------------------------------------------------------------------------------

    @property
    def _may_wait(self) -> bool:
        return getattr(self._local, "numbers", False)

    def _using(self) -> AbstractContextManager[Any]:
        """Within it, this thread alone changes anything here; it is to be active."""
        if not getattr(self._local, "depth", 0):
            raise DeviceFault(f"{threading.current_thread().name} uses the device and is not active on it")
        self._tell_faults()
        return self._lock

    def _tell_faults(self) -> None:
        if self._faults:
            told, self._faults[:] = "; ".join(self._faults), []
            raise DeviceFault(told)

    def _note(self, kind: str, size: int = 0, queue: Hashable = None) -> None:
        self.calls.append(Call(kind, size, queue, self._pinned.in_flight))

    def _name(self, queue: Hashable) -> Hashable:
        if queue is not None:
            return queue
        name: str | None = getattr(self._local, "name", None)
        if name is None:
            name = self._local.name = f"computations of {threading.current_thread().name}"
        return name

    def _clock(self, queue: Hashable) -> Clock:
        """What is done before a call that now goes into `queue`."""
        name = self._name(queue)
        clock = self._clocks.setdefault(name, {})
        if self._informed.get(name) != self._settled:
            merge(clock, self._host)
            self._informed[name] = self._settled
        return clock

    def _use(self, array: StrictArray, queue: Hashable, *, writes: bool) -> tuple[Hashable, int]:
        """Note a call in `queue` that uses `array`."""
        owner, name, clock = memory_of(array), self._name(queue), self._clock(queue)
        room = self._rooms[id(owner)]
        self._refuse_freed(room)
        part = _part(owner, array._host)
        if (other := room.uses.unordered(clock, name, part, writes=writes)) is not None:
            how = "written to" if writes else "read"
            raise DeviceFault(f"memory is {how} by the {name}, which have not waited for the {other}")
        call = self._called(queue)
        room.uses.note(call, part, writes=writes)
        return call

    def _called(self, queue: Hashable) -> tuple[Hashable, int]:
        """The number of the next call in a queue."""
        name, clock = self._name(queue), self._clock(queue)
        clock[name] = clock.get(name, 0) + 1
        return name, clock[name]

    def _reach(self, clock: Clock) -> None:
        """Let the host know that all that `clock` covers is done."""
        self._pinned.deliver(clock)
        self._pinned.settle(clock)
        merge(self._host, clock)
        self._settled += 1

    def _in_use(self, room: Room) -> Hashable | None:
        """A queue that may use the memory after what is in its home has been done."""
        return room.uses.pending(self._clock(room.home))

    def _refuse_freed(self, room: Room) -> None:
        if room.freed:
            raise DeviceFault("memory was used after it was given back")

    def _afford(self, size: int) -> None:
        if size > (left := self.total - self.taken):
            raise MemoryError(f"{size:,} bytes on a device that has {left:,} of {self.total:,} left")

    def _enter(self, owner: Array) -> Room:
        room = self._rooms[id(owner)] = Room(owner.nbytes, self._name(None))
        self.taken += room.size
        self.peak = max(self.peak, self.taken)
        return room

    def _keep(self, room: Room) -> None:
        room.kept = True
        self.kept += room.size
        self.kept_peak = max(self.kept_peak, self.kept)

    def _give_back(self, room: Room) -> None:
        self.taken -= room.size
        self.kept -= room.size if room.kept else 0

    def _dropped(self, owner: int) -> None:
        """Nobody holds an array in this memory any more."""
        with self._lock:
            room = self._rooms.pop(owner)
            self._give_back(room)
            if (queue := self._in_use(room)) is not None:
                self._faults.append(f"memory was let go, and the {queue} may still use it")


def _part(owner: Array, array: Array) -> tuple[int, int]:
    """The first byte of `owner` that `array` takes, and that after the last; an array of no entries takes none."""
    if array is owner:
        return 0, owner.nbytes
    if not array.size:
        return 0, 0
    first, (lo, hi) = byte_bounds(owner)[0], byte_bounds(array)
    return int(lo - first), int(hi - first)
