"""What an executor asks of a device: memory on both sides, copies beside the computations, and points to wait for."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from nmfkit.blocks import Array


class Memory(NamedTuple):
    """Bytes of the device: those that could be had now, and all of them."""

    free: int
    total: int


class Buffer(Protocol):
    """A run of bytes on the device, whose owner says when they are given back."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def view(self, offset: int, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of the device that lies `offset` bytes from the beginning: nothing is copied or cleared."""
        ...

    def free(self) -> None:
        """Give the bytes back; no array in them may be used any more."""
        ...


class Runtime(Protocol):
    """One device, as one thread computes on it.

    What the thread computes is put into a queue of its own, the *computations*, and done in that order, later. Copies
    go into queues beside it. A `mark` is a point in a queue. Nothing waits for the device but `settle`, `fetch`, and
    whatever turns an array of the device into a number.
    """

    @property
    def name(self) -> str:
        """What it is, for people: "NVIDIA H100 80GB HBM3"."""
        ...

    def memory(self) -> Memory:
        """Its memory."""
        ...

    def active(self) -> AbstractContextManager[None]:
        """Within it, the calling thread uses this device; every thread that touches it is in one."""
        ...

    def holds(self, value: Any) -> bool:
        """Whether `value` is an array of a device."""
        ...

    def pinned(self, size: int) -> Array:
        """`size` bytes of host memory that copies go from or to without a stop, as an array of uint8."""
        ...

    def buffer(self, size: int) -> Buffer:
        """`size` bytes of the device, not cleared; raises `MemoryError` where there are no more."""
        ...

    def queue(self) -> Any:
        """A queue of copies."""
        ...

    def put(self, target: Array, pinned: Array, queue: Any) -> None:
        """Copy `pinned` (host, contiguous, page-locked) into `target` (device, same shape and dtype), in `queue`."""
        ...

    def take(self, target: Array, array: Array, queue: Any) -> None:
        """Copy `array` (device, contiguous) into `target` (host, page-locked, same shape and dtype), in `queue`."""
        ...

    def mark(self, queue: Any = None) -> Any:
        """The point that `queue` has come to; without one, the computations of this thread."""
        ...

    def wait(self, queue: Any, mark: Any) -> None:
        """Let what comes later in `queue` (None: in the computations) wait for `mark`; the caller goes on at once."""
        ...

    def settle(self, mark: Any) -> None:
        """Let the caller wait until `mark` is reached."""
        ...

    def send(self, array: Array) -> Array:
        """A copy on the device of a host array of any layout; computations that follow see it."""
        ...

    def fetch(self, array: Array) -> Array:
        """A copy on the host of an array of the device, once its computation is done."""
        ...

    def give_back(self) -> None:
        """Let others have memory that is kept for later, and as much of it as before; it may be used again."""
        ...


def device_here(limit: int | None = None) -> Runtime:
    """The GPU that this process computes on, of which CuPy is to take at most `limit` bytes."""
    # Imported here: CuPy takes a second that nobody else need wait for.
    from nmfkit.executors.device.cuda import Cuda

    return Cuda(limit=limit)
