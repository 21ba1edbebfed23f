"""Rows of W on a device, or on their way there and back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from nmfkit.blocks import Array
from nmfkit.executors.device.runtime import Runtime
from nmfkit.executors.passes import Beside
from nmfkit.executors.shard import Writer
from nmfkit.protocols import Rows, RowStore


class Enters(Protocol):
    """A place that arrays may enter and leave."""

    def enter(self, value: Any) -> Any:
        """`value` with its arrays at the place."""
        ...

    def leave(self, value: Any) -> Any:
        """`value` with its arrays on the host."""
        ...


class DeviceRows:
    """All rows on a device, by factor name; whoever reads them gets copies on the host.

    A result does not keep them: the device's memory is for the next fit.
    """

    lasting: ClassVar[bool] = False

    def __init__(self, factors: Rows, place: Enters, first: int = 0) -> None:
        self.factors, self.place, self.first = factors, place, first

    def there(self, lo: int, hi: int) -> Rows:
        """The rows `lo` … `hi` where they are, views."""
        return {name: f[lo - self.first : hi - self.first] for name, f in self.factors.items()}

    def read(self, lo: int, hi: int) -> Rows:
        """The rows `lo` … `hi` of every factor, on the host."""
        rows: Rows = self.place.leave(self.there(lo, hi))
        return rows

    def part(self, lo: int, hi: int) -> DeviceRows:
        """The rows `lo` … `hi` alone."""
        return DeviceRows(self.there(lo, hi), self.place, lo)


def is_there(store: RowStore | None) -> bool:
    """Whether no row of `store` has to be brought to the device."""
    if isinstance(store, Beside):
        return is_there(store.one) and is_there(store.other)
    return store is None or isinstance(store, DeviceRows)


@dataclass
class RowsThere:
    """The rows of `store` as steps on a device take them; those that came along with a block are `brought`."""

    store: RowStore
    place: Enters
    brought: tuple[int, int, Rows] | None = None

    @property
    def lasting(self) -> bool:
        """As the store."""
        return self.store.lasting

    def read(self, lo: int, hi: int) -> Rows:
        """The rows `lo` … `hi` of every factor, on the device."""
        if self.brought is not None and self.brought[:2] == (lo, hi):
            return {**_there(self.store, lo, hi), **self.brought[2]}
        return {**_there(self.store, lo, hi), **self.place.enter(self.away(lo, hi))}

    def away(self, lo: int, hi: int) -> Rows:
        """Those of the rows `lo` … `hi` that are to be brought, on the host."""
        return {name: f for name, f in _away(self.store, lo, hi).items() if f is not None}

    def part(self, lo: int, hi: int) -> RowsThere:
        """Those of a part of the store."""
        return RowsThere(self.store.part(lo, hi), self.place)


def _there(store: RowStore, lo: int, hi: int) -> Rows:
    """The rows that are on the device."""
    if isinstance(store, Beside):
        return {**_there(store.one, lo, hi), **_there(store.other, lo, hi)}
    return store.there(lo, hi) if isinstance(store, DeviceRows) else {}


def _away(store: RowStore, lo: int, hi: int) -> dict[str, Array | None]:
    """The rows that are on the host, by factor; None for a factor whose last rows are on the device."""
    if isinstance(store, Beside):
        return {**_away(store.one, lo, hi), **_away(store.other, lo, hi)}
    return dict.fromkeys(store.factors) if isinstance(store, DeviceRows) else {**store.read(lo, hi)}


class Arriving:
    """A writer of rows on a device: those that a step has made on the host are sent there."""

    def __init__(self, writer: Writer, place: Enters) -> None:
        self._writer, self._place = writer, place
        self.block = writer.block

    def write(self, lo: int, rows: Rows) -> None:
        """Take the rows from `lo` on."""
        self._writer.write(lo, self._place.enter(rows))

    def flush(self) -> None:
        """Nothing is under way."""

    def abandon(self) -> None:
        """Nothing is under way."""


class Returning:
    """A writer on the host of rows made on a device: those of one block are copied while the next is in work."""

    def __init__(self, writer: Writer, runtime: Runtime, lag: int = 2) -> None:
        self._writer, self._runtime, self._lag = writer, runtime, lag
        self._queue = runtime.queue()
        self._under_way: deque[tuple[Any, Callable[[], None]]] = deque()

    def write(self, lo: int, rows: Rows) -> None:
        """Take the rows from `lo` on."""
        runtime = self._runtime
        # Copies: a step may give back what lies in a buffer that the next block is to pass through.
        kept = {name: f.copy() if runtime.holds(f) else f for name, f in rows.items()}
        runtime.wait(self._queue, runtime.mark())
        host = {name: self._begun(f) if runtime.holds(f) else f for name, f in kept.items()}

        def deliver() -> None:
            self._writer.write(lo, host)
            kept.clear()

        self._under_way.append((runtime.mark(self._queue), deliver))

    def block(self, lo: int, hi: int) -> None:
        """All rows of a block are on their way."""
        self._under_way.append((None, lambda: self._writer.block(lo, hi)))
        while len(self._under_way) > self._lag:
            self._arrived()

    def flush(self) -> None:
        """Wait for all rows that are under way, and hand them on."""
        while self._under_way:
            self._arrived()

    def abandon(self) -> None:
        """Wait for all rows that are under way, and hand on none: memory is not let go while they are copied to it."""
        while self._under_way:
            mark, _ = self._under_way.popleft()
            if mark is not None:
                self._runtime.settle(mark)

    def _begun(self, array: Array) -> Array:
        target = self._runtime.pinned(array.nbytes).view(array.dtype).reshape(array.shape)
        self._runtime.take(target, array, self._queue)
        return target

    def _arrived(self) -> None:
        mark, deliver = self._under_way.popleft()
        if mark is not None:
            self._runtime.settle(mark)
        deliver()
