"""The device of a worker, which one task at a time computes on, divided as the present fit has planned it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
        self._ended: set[str] = set()

    @contextmanager
    def place(self, run: str, plan: DevicePlan | None) -> Iterator[Place]:
        """Where a task of the fit `run` computes: in this process's memory, unless there is a plan for its device."""
        if plan is None:
            yield Host()
            return
        with self._lock:
            if self._taken is None or self._taken[:2] != (run, plan):
                self._leave()
                self._taken = run, plan, OnDevice(device_here(plan.memory), plan)
            place = self._taken[2]
            try:
                with place.active():
                    yield place
            finally:
                if run in self._ended:  # while the task was at it
                    self._ended.discard(run)
                    self._leave()

    def forget(self, run: str) -> None:
        """Give back what the fit has left; where a task computes, at its end."""
        self._ended.add(run)
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._ended.discard(run)
            if self._taken is not None and self._taken[0] == run:
                self._leave()
        finally:
            self._lock.release()

    def _leave(self) -> None:
        taken, self._taken = self._taken, None
        if taken is not None:
            taken[2].close()
