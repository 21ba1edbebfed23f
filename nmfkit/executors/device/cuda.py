"""A GPU as CuPy reaches it; imported only where one is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import GpuError
from nmfkit.executors.device.runtime import Memory
from nmfkit.executors.plan import size_text


class CudaBuffer:
    """Bytes of CuPy's memory pool."""

    def __init__(self, size: int) -> None:
        import cupy

        self.size = size
        self._pointer: Any = cupy.cuda.alloc(size)

    def view(self, offset: int, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array in it."""
        import cupy

        array: Array = cupy.ndarray(shape, dtype, memptr=self._pointer + offset)
        return array

    def free(self) -> None:
        """Let go of it; the pool has the bytes again when the last array in it is gone, too."""
        self._pointer = None


class Cuda:
    """GPU number `number` of those that this process sees; computations go into the legacy default stream.

    With `limit`, CuPy's pool takes no more bytes than that. Raises `GpuError` where the GPU's memory runs out.
    """

    def __init__(self, number: int = 0, limit: int | None = None) -> None:
        import cupy

        self._cupy, self._limit = cupy, limit
        self._gpu = cupy.cuda.Device(number)
        with self._gpu:
            pool = cupy.get_default_memory_pool()
            self._limit_before = pool.get_limit()
            pool.set_limit(size=limit or 0)  # 0: none

    @cached_property
    def name(self) -> str:
        """As the driver calls it."""
        found = self._cupy.cuda.runtime.getDeviceProperties(self._gpu.id)["name"]
        return found.decode() if isinstance(found, bytes) else str(found)

    def memory(self) -> Memory:
        """Free bytes, those that CuPy keeps for later among them, and all."""
        with self._gpu:
            free, total = self._gpu.mem_info
            return Memory(free + self._cupy.get_default_memory_pool().free_bytes(), total)

    @contextmanager
    def active(self) -> Iterator[None]:
        """The GPU is the thread's present one."""
        try:
            with self._gpu:
                yield
        except self._cupy.cuda.memory.OutOfMemoryError as error:
            raise GpuError(self._shortage(error)) from error

    def _shortage(self, error: BaseException) -> str:
        memory = self.memory()
        allowed = "" if self._limit is None else f", {size_text(self._limit)} of them were allowed (--device-memory)"
        return (
            f"the memory of {self.name} ran out ({error}): {size_text(memory.free)} of {size_text(memory.total)} are "
            f"free{allowed}; give --device-memory less than that, so that blocks are smaller, or end what else uses it"
        )

    def holds(self, value: Any) -> bool:
        """Whether it is an array of CuPy."""
        return isinstance(value, self._cupy.ndarray)

    def pinned(self, size: int) -> Array:
        """Page-locked memory, which is given back with the array."""
        return np.frombuffer(self._cupy.cuda.alloc_pinned_memory(max(1, size)), np.uint8, size)

    def buffer(self, size: int) -> CudaBuffer:
        """Bytes of the GPU."""
        return CudaBuffer(size)

    def queue(self) -> Any:
        """A stream that does not wait for the default one."""
        return self._cupy.cuda.Stream(non_blocking=True)

    def put(self, target: Array, pinned: Array, queue: Any) -> None:
        """To the GPU, in `queue`."""
        there: Any = target
        there.data.copy_from_host_async(pinned.ctypes.data, pinned.nbytes, queue)

    def take(self, target: Array, array: Array, queue: Any) -> None:
        """From the GPU, in `queue`."""
        if array.size:
            there: Any = array
            there.data.copy_to_host_async(target.ctypes.data, target.nbytes, queue)

    def mark(self, queue: Any = None) -> Any:
        """An event."""
        event = self._cupy.cuda.Event(disable_timing=True)
        event.record(queue or self._computations)
        return event

    def wait(self, queue: Any, mark: Any) -> None:
        """The stream waits for the event."""
        (queue or self._computations).wait_event(mark)

    def settle(self, mark: Any) -> None:
        """The caller waits for the event."""
        mark.synchronize()

    def send(self, array: Array) -> Array:
        """To the GPU, before what is computed next."""
        sent: Array = self._cupy.asarray(array)
        return sent

    def fetch(self, array: Array) -> Array:
        """From the GPU, after what was computed before."""
        found: Array = self._cupy.asnumpy(array)
        return found

    def give_back(self) -> None:
        """CuPy's pool gives back what it keeps, and has the limit that it had: it is also that of whoever called."""
        with self._gpu:
            pool = self._cupy.get_default_memory_pool()
            if pool.get_limit() == (self._limit or 0):  # not that of a fit that has begun meanwhile
                pool.set_limit(size=self._limit_before)
            pool.free_all_blocks()

    @property
    def _computations(self) -> Any:
        return self._cupy.cuda.get_current_stream()
