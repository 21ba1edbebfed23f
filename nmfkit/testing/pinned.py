"""Page-locked memory of the fake device, and the copies that go from and to it."""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.testing.ordering import Clock, DeviceFault, covers
from nmfkit.testing.watched import memory_of

POISON = 0xFF
"""Every byte of memory that holds nothing yet, or nothing any more: NaN as a float, -1 as an integer."""


@dataclass
class Copy:
    """A copy that was asked for: `pinned` bytes from `first` on, to or from an array of the device.

    `target` is where a copy to the device arrives, None where it has arrived already; `taken` are the bytes of a copy
    from it. `known` is what the page-locked memory held, and should until the copy is sure to be done.
    """

    call: tuple[Hashable, int]
    owner: int
    pinned: weakref.ref[Array]
    first: int
    size: int
    target: Array | None = None
    taken: Array | None = None
    known: bytes | None = None
    done: bool = False

    def host(self) -> Array | None:
        """Its bytes of page-locked memory, unless that is gone."""
        owner = self.pinned()
        return None if owner is None else owner[self.first : self.first + self.size]

    def do(self) -> None:
        """Copy, now."""
        self.done = True
        host = self.host()
        if host is None:
            return
        if self.taken is not None:
            host[...] = self.taken
        elif self.target is not None:
            self.target[...] = host.view(self.target.dtype).reshape(self.target.shape)

    def is_spoilt(self) -> bool:
        """Whether the page-locked memory is not what it was."""
        host = self.host()
        return self.known is not None and host is not None and host.tobytes() != self.known


class PinnedMemory:
    """All page-locked memory, and the copies that the host does not know to be done; tells `faults`."""

    def __init__(self, faults: list[str]) -> None:
        self._faults = faults
        self._owners: set[int] = set()
        self._copies: list[Copy] = []

    @property
    def in_flight(self) -> int:
        """Copies that are not done."""
        return sum(not copy.done for copy in self._copies)

    def made(self, size: int) -> Array:
        """Memory that holds poison."""
        array = np.full(size, POISON, np.uint8)
        self._owners.add(id(array))
        weakref.finalize(array, self._dropped, id(array)).atexit = False
        return array

    def check(self, host: Array, array: Any) -> None:
        """Raise `DeviceFault` for a copy that no device would do aside."""
        if id(memory_of(host)) not in self._owners:
            raise DeviceFault("a copy from or to memory that is not page-locked")
        if (host.shape, host.dtype) != (array.shape, array.dtype):
            raise DeviceFault(f"{host.dtype} {host.shape} and {array.dtype} {array.shape} in one copy")
        if not (host.flags.c_contiguous and array.flags.c_contiguous):
            raise DeviceFault("a copy of memory that is not contiguous")

    def ask(self, call: tuple[Hashable, int], host: Array, target: Array, lasts: bool) -> None:
        """A copy of `host` to `target`, which holds poison until then; done at once unless the target `lasts`."""
        copy = self._asked(call, host)
        copy.known = host.tobytes()
        # A copy that holds its target would keep it from being let go too early, and from being found out.
        target[...] = (
            host if not lasts else np.frombuffer(bytes([POISON]) * host.nbytes, host.dtype).reshape(host.shape)
        )
        copy.target = target if lasts else None

    def ask_back(self, call: tuple[Hashable, int], host: Array, array: Array) -> None:
        """A copy of `array` to `host`, which holds poison until then."""
        copy = self._asked(call, host)
        copy.taken = np.frombuffer(array.tobytes(), np.uint8)
        copy.host()[...] = POISON  # type: ignore[index]  # it is here, for somebody holds it

    def deliver(self, clock: Clock, *, puts_only: bool = False) -> None:
        """Do the copies that are done by then, in the order in which they were asked for."""
        for copy in self._copies:
            if not copy.done and covers(clock, copy.call) and not (puts_only and copy.taken is not None):
                copy.do()

    def settle(self, clock: Clock) -> None:
        """The host knows what is done by then."""
        self.compare()
        self._copies = [copy for copy in self._copies if not covers(clock, copy.call)]

    def compare(self) -> None:
        """Tell of memory that was changed while a copy might have read it."""
        for copy in self._copies:
            if copy.is_spoilt():
                self._faults.append("page-locked memory was changed while a copy may still have read it")
                copy.known = None

    def _asked(self, call: tuple[Hashable, int], host: Array) -> Copy:
        owner = memory_of(host)
        first = host.ctypes.data - owner.ctypes.data
        copy = Copy(call, id(owner), weakref.ref(owner), first, host.nbytes)
        self._copies.append(copy)
        return copy

    def _dropped(self, owner: int) -> None:
        self._owners.remove(owner)
        if any(copy.owner == owner for copy in self._copies):
            self._faults.append("page-locked memory was let go while a copy may still use it")
