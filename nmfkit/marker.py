"""What writes the progress mark of a fit: a thread that wakes now and then, so that no sweep waits for a disk."""

from __future__ import annotations

import os
import socket
import threading
import time
from math import isfinite
from typing import Any

from nmfkit.errors import StoreError
from nmfkit.hookspecs import FitDescription, FitEnd
from nmfkit.interrupts import deferred
from nmfkit.loop import State, Watcher
from nmfkit.mark import Mark, MarkFile, thinned
from nmfkit.sources.remote import Options
from nmfkit.sources.uri import is_remote

CALM = 0.3
"""Seconds before the first mark: a fit that is done by then needs none."""
EVERY, EVERY_REMOTE = 1.0, 5.0
"""Seconds between marks."""
PATIENCE = 30.0
"""Seconds that the end of a fit waits for a mark that is being written."""


class Marker(Watcher):
    """Writes where the fit is beside the run at `out`, as long as it runs; what goes wrong with that is nobody's loss.

    The fit itself only leaves its last state here.
    """

    def __init__(self, out: str, options: Options | None = None) -> None:
        self._file = MarkFile(out, options)
        self._every = EVERY_REMOTE if is_remote(out) else EVERY
        self._fit: FitDescription | None = None
        self._stage = ""
        self._state: State | None = None
        self._kept: int | None = None
        self._first: tuple[int, float] | None = None
        self._began = time.monotonic()
        self._bytes = self._sweep_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="nmfkit-progress", daemon=True)
        self._written = False

    def started(self, fit: FitDescription) -> None:
        """Begin to write marks."""
        self._fit = fit
        self._kept = fit.resumed_from
        self._thread.start()

    def stage(self, name: str) -> None:
        """Keep its name."""
        self._stage = name
        if name == "sweeps":
            self._began = time.monotonic()

    def plan(self, plan: Any, cautions: list[str]) -> None:
        """Keep the bytes that a sweep goes through."""
        del cautions
        self._sweep_bytes = plan.passed_bytes

    def block(self, size: int) -> None:
        """Count its bytes: two threads at once may lose one, which nobody will see."""
        self._bytes += size

    def sweep(self, state: State) -> None:
        """Keep the state."""
        self._state, self._bytes = state, 0
        if self._first is None:
            self._first = (state.sweep, time.monotonic())

    def checkpoint(self, sweep: int) -> None:
        """Keep its number."""
        self._kept = sweep

    def finished(self, end: FitEnd) -> None:
        """Write no more, and take the mark away: from now on the run speaks for itself."""
        del end
        assert self._fit is not None
        with deferred(forget=True):  # nothing is left to interrupt
            self._ended.set()
            self._thread.join(PATIENCE)
            if self._written and not self._thread.is_alive():
                try:
                    self._file.remove(self._fit.fit)
                except StoreError:
                    return  # whoever watches will find it silent

    def _write_on(self) -> None:
        pause = CALM
        while not self._ended.wait(pause):
            pause = self._every
            try:
                self._written = True
                self._file.write(self._mark())
            except StoreError:
                continue  # the disk may be full now, and not the next time

    def _mark(self) -> Mark:
        fit, state = self._fit, self._state
        assert fit is not None
        pace = self._pace(state)
        return Mark(
            fit=fit.fit,
            host=socket.gethostname(),
            pid=os.getpid(),
            started=fit.started,
            written=time.time(),
            every=self._every,
            problem=fit.problem,
            source=fit.source,
            shape=fit.shape,
            stage=self._stage,
            sweep=state.sweep if state else fit.resumed_from,
            objective=state.objective if state else None,
            seconds=state.history[-1].seconds if state else None,
            pace=pace,
            part=min(1.0, self._bytes / self._sweep_bytes) if self._sweep_bytes and self._stage == "sweeps" else 0.0,
            left=self._left(state, pace),
            kept=self._kept,
            curve=thinned(state.history) if state else (),
            unfitted=state.unfitted if state and isfinite(state.unfitted) else None,
        )

    def _pace(self, state: State | None) -> float | None:
        """Seconds a sweep since the first one of this session, which also warms caches and kernels."""
        if state is None or self._first is None or state.sweep <= self._first[0]:
            return None
        return (time.monotonic() - self._first[1]) / (state.sweep - self._first[0])

    def _left(self, state: State | None, pace: float | None) -> float | None:
        """The most time that the limits of the problem allow, as far as it is known."""
        assert self._fit is not None
        limit, most = self._fit.problem["time_limit"], self._fit.problem["max_sweeps"]
        found = [] if limit is None or self._stage != "sweeps" else [limit - (time.monotonic() - self._began)]
        if state is not None and pace is not None:
            found.append((most - state.sweep) * pace)
        return max(0.0, min(found)) if found else None
