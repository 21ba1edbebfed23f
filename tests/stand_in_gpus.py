"""Stand-ins for GPUs: dask workers that are threads of this process, each of which computes on arrays of a stand-in."""

from __future__ import annotations

import itertools
import re
import threading
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from unittest import mock

import numpy as np

from nmfkit.executors.blobs import Blobs
from nmfkit.executors.device import asked, seat
from nmfkit.executors.device.place import OnDevice
from nmfkit.executors.device.runtime import Memory
from nmfkit.executors.host import Host
from nmfkit.executors.worker import Shelf
from nmfkit.leaves import mapped
from nmfkit.testing.device import StrictArray

GIB = 2**30


class Bytes:
    """Some bytes of a stand-in."""

    def __init__(self, gpu, size):
        self._gpu, self.size = gpu, size
        self._bytes = np.full(size, 0xA5, np.uint8)

    def view(self, offset, shape, dtype):
        dtype = np.dtype(dtype)
        end = offset + dtype.itemsize * int(np.prod(shape))
        assert end <= self.size, "an array is larger than its buffer"
        return StrictArray(self._bytes[offset:end].view(dtype).reshape(shape))

    def free(self):
        self._bytes[...] = 0x5A
        self._gpu.buffers -= 1


class Gpu:
    """A stand-in that does at once what it is asked for; threads that touch it are active on it."""

    name = "a stand-in"

    def __init__(self, limit=None):
        self.limit, self.buffers, self._local = limit, 0, threading.local()

    def memory(self):
        return Memory(GIB, GIB)

    @contextmanager
    def active(self):
        self._local.depth = self._depth + 1
        try:
            yield
        finally:
            self._local.depth -= 1

    @property
    def _depth(self):
        return getattr(self._local, "depth", 0)

    def holds(self, value):
        return isinstance(value, StrictArray)

    def pinned(self, size):
        assert self._depth
        return np.full(size, 0xA5, np.uint8)

    def buffer(self, size):
        assert self._depth
        self.buffers += 1
        return Bytes(self, size)

    def queue(self):
        return object()

    def put(self, target, pinned, queue):
        assert self._depth
        assert queue is not None
        target._host[...] = pinned

    def take(self, target, array, queue):
        assert self._depth
        assert queue is not None
        target[...] = array._host

    def mark(self, queue=None):
        del queue
        assert self._depth
        return object()

    def wait(self, queue, mark):
        del queue
        assert mark is not None

    def settle(self, mark):
        assert mark is not None

    def send(self, array):
        assert self._depth
        assert isinstance(array, np.ndarray)
        return StrictArray(array.copy())

    def fetch(self, array):
        assert self._depth
        return array.get()

    def give_back(self):
        assert self._depth
        assert not self.buffers


def refuse_gone(value):
    """Raises where an array of a stand-in is in `value`, which leaves its worker."""

    def look(part):
        assert not isinstance(part, StrictArray), "an array of the device leaves its worker"
        return part

    mapped(value, look)


def kept_in(method):
    """A method of blobs that looks at what it is to write."""

    def put(self, name, value, before=method):
        refuse_gone(value)
        return before(self, name, value)

    return put


@contextmanager
def gpus(**changes):
    """Within it, each worker has a stand-in, used as planned but for `changes`; the places taken, in order."""
    taken = []

    def placed(runtime, plan):
        taken.append(OnDevice(runtime, replace(plan, **changes)))
        return taken[-1]

    with (
        mock.patch.object(seat, "device_here", Gpu),
        mock.patch.object(seat, "OnDevice", placed),
        mock.patch.object(asked, "missing", return_value=[]),
        mock.patch.object(asked, "free_bytes", return_value=GIB),
        mock.patch.object(asked, "_identity", side_effect=(f"number {i}" for i in itertools.count())),
        mock.patch.object(Blobs, "put_rows", kept_in(Blobs.put_rows)),
        mock.patch.object(Blobs, "put_state", kept_in(Blobs.put_state)),
    ):
        yield taken


@contextmanager
def processors():
    """Within it, what is laid out for GPUs is done by processors."""
    with mock.patch.object(Shelf, "place", return_value=nullcontext(Host())):
        yield


def allowed(sentence):
    """The bytes that a refusal says would do."""
    found = re.search(r"(?:allow|give each)(?: --memory)? ([\d.]+) (B|KiB|MiB|GiB|TiB) or more", sentence)
    assert found, sentence
    return int(float(found[1]) * 1024 ** ["B", "KiB", "MiB", "GiB", "TiB"].index(found[2]))
