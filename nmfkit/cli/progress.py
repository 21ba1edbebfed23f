"""How a command's progress is shown on standard error: live on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nmfkit.cli.course import pace_text, place_text, stage_text
from nmfkit.cli.sparkline import RAMP, sparkline
from nmfkit.cli.terminal import say
from nmfkit.cli.text import number
from nmfkit.hookspecs import FitDescription
from nmfkit.loop import State, Watcher
from nmfkit.mark import thinned
from nmfkit.stopping import WINDOW, gain

EVERY = 5.0
"""Seconds between lines where standard error is no terminal."""


class Meter(Watcher):
    """Counts what a progress display needs; by itself it shows nothing.

    `notes` holds the cautions of the plan, `done` sweeps and the fraction of the one in work, `most` the last
    sweep that there may be.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self.name = ""
        self.notes: list[str] = []
        self.state: State | None = None
        self.lagging: tuple[str, float] | None = None
        self._first: tuple[int, float] | None = None
        self._began = time.monotonic()
        self._bytes = self._sweep_bytes = self._in_sweep = 0
        self._lock = threading.Lock()
        self._tol = 0.0
        self._limit: float | None = None

    def started(self, fit: FitDescription) -> None:
        """Keep the tolerance and the time limit."""
        self._tol, self._limit = fit.problem["tol"], fit.problem["time_limit"]

    def fault(self, sentence: str) -> None:
        """A note like any other."""
        self.note(sentence)

    def stage(self, name: str) -> None:
        """Start counting anew."""
        self.name, self._began = name, time.monotonic()
        self._bytes = self._in_sweep = 0

    def found(self, probe: Any) -> None:
        """Keep what may surprise."""
        self.notes = probe.notes()

    def plan(self, plan: Any, cautions: list[str]) -> None:
        """Keep the cautions, and the bytes that a sweep goes through."""
        self.notes, self._sweep_bytes = [*self.notes, *cautions], plan.passed_bytes

    def slow(self, worker: str, part: float) -> None:
        """Keep whom the sweep waits for."""
        self.lagging = (worker, part)

    def block(self, size: int) -> None:
        """Count the bytes; called from worker threads."""
        with self._lock:
            self._bytes += size
            self._in_sweep += size

    def sweep(self, state: State) -> None:
        """Keep the state."""
        self.state = state
        self.lagging = None
        self._in_sweep = 0
        if self._first is None:
            self._first = (state.sweep, time.monotonic())

    @property
    def done(self) -> float:
        """Sweeps done and the fraction of the one in work."""
        part = min(1.0, self._in_sweep / self._sweep_bytes) if self._sweep_bytes else 0.0
        return (self.state.sweep if self.state else 0) + part

    def line(self) -> str:
        """Where the fit is, in one line."""
        return " · ".join(piece for piece in (self.place(), self.course()) if piece)

    def place(self) -> str:
        """Which stage or sweep it is, and the most time that is left."""
        if self.state is None or self.name == "write":
            return stage_text(self.name, time.monotonic() - self._began)
        waits = f", waiting for {self.lagging[0]} ({self.lagging[1]:.0%} done)" if self.lagging else ""
        return place_text(self.state.sweep, self.most, self._left()) + waits

    def spark(self, columns: int, ramp: str = RAMP) -> str:
        """The course of the objective in so many columns."""
        if self.state is None:
            return ""
        return sparkline(thinned(self.state.history), columns, self._tol, ramp, self.state.unfitted)

    def _left(self) -> float | None:
        """The most time that the limits allow."""
        assert self.state is not None
        sweeps, seconds = self._since_first()
        found = [(self.most - self.state.sweep) * seconds / sweeps] if self.most and sweeps else []
        if self._limit is not None:
            found.append(self._limit - (time.monotonic() - self._began))
        return max(0.0, min(found)) if found else None

    def course(self) -> str:
        """Objective, its decrease over the sweeps that the tolerance looks at, and the pace."""
        if self.state is None:
            return ""
        pieces = [f"objective {number(self.state.objective)}"]
        history = self.state.history
        window = min(WINDOW, len(history) - 1)
        change = gain(history[-1 - window].objective, history[-1].objective, self.state.unfitted)
        if window > 0 and math.isfinite(change):
            pieces.append(f"change {change:.1e}")
        sweeps, seconds = self._since_first()
        if sweeps:
            pieces.append(pace_text(seconds / sweeps))
        if self._bytes and (spent := time.monotonic() - self._began) > 0:
            pieces.append(f"{self._bytes / 1e6 / spent:,.0f} MB/s")
        return " · ".join(pieces)

    def _since_first(self) -> tuple[int, float]:
        """Sweeps since the first one, which also warms caches and kernels, and their time."""
        if self.state is None or self._first is None:
            return 0, 0.0
        return self.state.sweep - self._first[0], max(1e-9, time.monotonic() - self._first[1])


class Quiet(Meter):
    """Says nothing."""


class Lines(Meter):
    """Prints notes at once, and a line every few seconds."""

    def __init__(self, most: int | None = None) -> None:
        super().__init__(most)
        self._told = time.monotonic()

    def plan(self, plan: Any, cautions: list[str]) -> None:
        """Print the cautions."""
        super().plan(plan, cautions)
        self.say_notes()

    def crew(self, crew: Any) -> None:
        """Print who does the work."""
        self.say(f"on {crew}")

    def note(self, sentence: str) -> None:
        """Print it."""
        self.say(f"note: {sentence}")

    def say(self, text: str) -> None:
        """Print a line."""
        say(text)

    def say_notes(self) -> None:
        """Print the cautions as notes."""
        for note in self.notes:
            self.say(f"note: {note}")

    def stage(self, name: str) -> None:
        """A line, if it is time."""
        super().stage(name)
        self._tell()

    def sweep(self, state: State) -> None:
        """A line, if it is time."""
        super().sweep(state)
        self._tell()

    def _tell(self) -> None:
        if time.monotonic() - self._told >= EVERY:
            self.say(self.line())
            self._told = time.monotonic()


@contextmanager
def watching(*, quiet: bool, most: int | None = None) -> Iterator[Meter]:
    """A meter for as long as the block runs: silent, live or by lines."""
    if quiet:
        yield Quiet(most)
    elif sys.stderr.isatty():
        from nmfkit.cli.live import live

        with live(most) as meter:
            yield meter
    else:
        yield Lines(most)
