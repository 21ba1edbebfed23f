"""Who hears of a fit: its caller's watcher, the plugins that listen, and the mark that `nmfkit watch` reads."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from nmfkit.errors import Interrupted
from nmfkit.hookspecs import FitDescription, FitEnd
from nmfkit.loop import State, Watcher
from nmfkit.marker import Marker
from nmfkit.observers import Observers
from nmfkit.problem import Problem
from nmfkit.protocols import Source
from nmfkit.registry import registry
from nmfkit.sources.remote import Options
from nmfkit.sources.uri import is_remote


@contextmanager
def attended(
    watcher: Watcher,
    problem: Problem,
    source: Source,
    *,
    out: str | os.PathLike[str] | None = None,
    options: Options | None = None,
    earlier: State | None = None,
) -> Iterator[Watcher]:
    """A watcher for the fit of the block that tells `watcher`, and everybody else who listens, the last one first.

    They hear that the fit has started, and at the end of the block how it has ended.
    """
    fit = described(problem, source, out, earlier)
    others: list[Watcher] = [] if fit.out is None else [Marker(fit.out, options)]
    if observers := registry().observers:
        others.append(Listening(Observers(observers, fit, watcher.fault)))
    relay = Relay([*others, watcher])
    began = time.monotonic()
    try:
        relay.started(fit)
        yield relay
    except BaseException as error:
        relay.finished(_broken_off(relay.state or earlier, time.monotonic() - began, error))
        raise
    relay.finished(_ended(relay.state or earlier, time.monotonic() - began))


def described(
    problem: Problem, source: Source, out: str | os.PathLike[str] | None, earlier: State | None
) -> FitDescription:
    """A fit as listeners hear of it."""
    where = None if out is None else str(out) if is_remote(str(out)) else str(Path(out).expanduser().absolute())
    m, n = source.shape
    return FitDescription(
        fit=uuid4().hex[:12],
        out=where,
        problem=_frozen(problem.as_json()),
        source=source.uri,
        shape=(int(m), int(n)),
        resumed_from=None if earlier is None else earlier.sweep,
        started=time.time(),
    )


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return MappingProxyType({name: _frozen(v) for name, v in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _ended(state: State | None, seconds: float) -> FitEnd:
    record = state.history[-1] if state else None
    return FitEnd("done", state.stopped_by if state else None, record, seconds)


def _broken_off(state: State | None, seconds: float, error: BaseException) -> FitEnd:
    record = state.history[-1] if state else None
    if isinstance(error, Interrupted | KeyboardInterrupt):
        return FitEnd("interrupted", None, record, seconds)
    return FitEnd("failed", None, record, seconds, f"{type(error).__name__}: {error}")


class Listening(Watcher):
    """Passes on to plugins what they may hear."""

    def __init__(self, observers: Observers) -> None:
        self._observers = observers

    def started(self, fit: FitDescription) -> None:
        """The fit begins: the one that the observers know."""
        del fit
        self._observers.started()

    def sweep(self, state: State) -> None:
        """The record alone: the factors are none of their business."""
        self._observers.sweep(state.history[-1])

    def checkpoint(self, sweep: int) -> None:
        """A checkpoint is on disk."""
        self._observers.checkpoint(sweep)

    def finished(self, end: FitEnd) -> None:
        """The fit has ended."""
        self._observers.finished(end)


class Relay(Watcher):
    """Tells several watchers everything, in their order, and keeps the last state."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = tuple(watchers)
        # Blocks may be many and small: whoever does not count them is not called for each.
        self._counting = tuple(w for w in watchers if type(w).block is not Watcher.block)
        self.state: State | None = None

    def started(self, fit: FitDescription) -> None:
        """Tell them."""
        for watcher in self._watchers:
            watcher.started(fit)

    def finished(self, end: FitEnd) -> None:
        """Tell them."""
        for watcher in self._watchers:
            watcher.finished(end)

    def fault(self, sentence: str) -> None:
        """Tell the last one, who tells the user."""
        self._watchers[-1].fault(sentence)

    def stage(self, name: str) -> None:
        """Tell them."""
        for watcher in self._watchers:
            watcher.stage(name)

    def crew(self, crew: Any) -> None:
        """Tell them."""
        for watcher in self._watchers:
            watcher.crew(crew)

    def note(self, sentence: str) -> None:
        """Tell them."""
        for watcher in self._watchers:
            watcher.note(sentence)

    def slow(self, worker: str, part: float) -> None:
        """Tell them."""
        for watcher in self._watchers:
            watcher.slow(worker, part)

    def found(self, probe: Any) -> None:
        """Tell them."""
        for watcher in self._watchers:
            watcher.found(probe)

    def plan(self, plan: Any, cautions: list[str]) -> None:
        """Tell them."""
        for watcher in self._watchers:
            watcher.plan(plan, cautions)

    def block(self, size: int) -> None:
        """Tell those who count."""
        for watcher in self._counting:
            watcher.block(size)

    def sweep(self, state: State) -> None:
        """Keep the state, and tell them."""
        self.state = state
        for watcher in self._watchers:
            watcher.sweep(state)

    def checkpoint(self, sweep: int) -> None:
        """Tell them."""
        for watcher in self._watchers:
            watcher.checkpoint(sweep)
