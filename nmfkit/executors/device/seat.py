"""The device of a worker, which one task at a time computes on, divided as the present fit has planned it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nmfkit.executors.device.budget import DevicePlan
from nmfkit.executors.device.place import OnDevice
from nmfkit.executors.device.runtime import device_here
from nmfkit.executors.host import Host
from nmfkit.executors.place import Place


class Seat:
    """Blocks of one fit stay on the device between its tasks; those of another make room for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: tuple[str, DevicePlan, OnDevice] | None = None
        self._last: Any = None
        self._ended: set[str] = set()

    @contextmanager
    def place(self, run: str, plan: DevicePlan | None) -> Iterator[Place]:
        """Where a task of the fit `run` computes: in this process's memory, unless there is a plan for its device."""
        if plan is None:
            yield Host()
            return
        try:
            with self._lock, self._in_turn(run, plan) as place:
                yield place
        finally:
            self._clear()  # the fit may have ended while the task was at it

    @contextmanager
    def _in_turn(self, run: str, plan: DevicePlan) -> Iterator[OnDevice]:
        """The place of a fit, for one task of it: what the last one computed there, this one may use."""
        if self._taken is None or self._taken[:2] != (run, plan):
            self._leave()
            self._taken = run, plan, OnDevice(device_here(plan.memory), plan)
        place = self._taken[2]
        with place.active():
            if self._last is not None:
                place.runtime.wait(None, self._last)
            try:
                yield place
            finally:
                self._last = place.runtime.mark()

    def forget(self, run: str) -> None:
        """Give back what the fit has left; where a task computes, at its end."""
        self._ended.add(run)
        self._clear()

    def _clear(self) -> None:
        """Give back what fits that have ended have left, unless a task computes, which does so after it."""
        # Looked at again once the lock is free: who has found it taken leaves the rest to the one who had it.
        while self._ended and self._lock.acquire(blocking=False):
            try:
                ended = set(self._ended)
                if self._taken is not None and self._taken[0] in ended:
                    self._leave()
                self._ended -= ended
            finally:
                self._lock.release()

    def _leave(self) -> None:
        taken, self._taken, self._last = self._taken, None, None
        if taken is not None:
            taken[2].close()
