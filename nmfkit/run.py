"""A fit on its way: the loop driven to its end, and written down as it goes."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from nmfkit.check import Resolved
from nmfkit.errors import Interrupted, StoreError
from nmfkit.interrupts import deferred
from nmfkit.loop import State, Watcher, iterate, reason_to_stop
from nmfkit.protocols import RowStore, Shared, Source, Sweep
from nmfkit.result import Result
from nmfkit.sources.staging import local_path
from nmfkit.store import FINAL, RunStore, StoredRows

CHECKPOINT_SECONDS = 60.0
"""Time between checkpoints when no number of sweeps is given."""


class Run:
    """A fit of `resolved` on `source`, kept at `out` if that is given: from its first state on, not before.

    `attributes` are those of the run store. `store` is that of a run that goes on.
    """

    def __init__(
        self,
        resolved: Resolved,
        source: Source,
        attributes: Mapping[str, Any],
        *,
        out: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        store: RunStore | None = None,
        checkpoint_every: int | None = None,
        watcher: Watcher,
    ) -> None:
        self.resolved, self.source, self.attributes = resolved, source, dict(attributes)
        self.checkpoint_every, self.watcher = checkpoint_every, watcher
        self._out = None if out is None else str(local_path(str(out)))
        self._overwrite, self._store = overwrite, store
        self._started = time.monotonic()

    def begin(self, sweep: Sweep, rows: RowStore, shared: Shared) -> Result:
        """Fit from a start."""
        return self._finish(self._loop(sweep, rows, shared))

    def go_on(self, sweep: Sweep, state: State) -> Result:
        """Fit on from a state, unless it is at its end by the problem's present limits."""
        reason = reason_to_stop(self.resolved.problem, list(state.history), 0.0)
        if reason is None:
            state = self._loop(sweep, state.rows, state.following, state)
        return self._finish(replace(state, stopped_by=reason or state.stopped_by))

    def _loop(self, sweep: Sweep, rows: RowStore, shared: Shared, earlier: State | None = None) -> State:
        self.watcher.stage("sweeps")
        state, saved = earlier, time.monotonic()
        history = earlier.history if earlier else ()
        try:
            for state in iterate(self.resolved.model, sweep, self.resolved.problem, rows, shared, history):
                self.watcher.sweep(state)
                if not state.stopped_by and self._is_due(state, saved):
                    self._checkpoint(state)
                    saved = time.monotonic()
        except KeyboardInterrupt:
            if state is None or self._out is None:
                raise
            self._checkpoint(state, status="interrupted", objective=state.objective)
            raise Interrupted(self._out, state.sweep) from None
        assert state is not None
        return state

    def _is_due(self, state: State, saved: float) -> bool:
        if self._out is None:
            return False
        if self.checkpoint_every:
            return state.sweep > 0 and state.sweep % self.checkpoint_every == 0
        return time.monotonic() - saved >= CHECKPOINT_SECONDS

    def _checkpoint(self, state: State, **attributes: Any) -> None:
        """Keep `state`, so that a later `resume` continues from it; with `attributes`, as the last thing done."""
        with deferred(forget=bool(attributes)), self._writing() as store:
            if store.kept != state.sweep:
                store.checkpoint(state, self.source.shape[0])
            if attributes and store.slot != FINAL:
                store.update(**attributes)
        self.watcher.checkpoint(state.sweep)

    def _finish(self, state: State) -> Result:
        """The result, written if there is an output; Ctrl-C has nothing left to interrupt then."""
        seconds = time.monotonic() - self._started
        timings = {"total_seconds": seconds, "sweep_seconds": state.history[-1].seconds}
        attributes = {**self.attributes, "timings": timings}
        if self._out is not None:
            self.watcher.stage("write")
            with deferred(forget=True), self._writing() as store:
                factors = self.resolved.model.factors(state.current)
                store.finish(state, self.source.shape[0], factors, timings=timings)
                attributes = store.attributes
        if self._store is not None and isinstance(state.rows, StoredRows):
            state = self._store.restore()  # the slot that they came from is gone
        return Result(
            problem=self.resolved.problem,
            state=state,
            shape=self.source.shape,
            attributes=attributes,
            row_names=self.source.row_names,
            feature_names=self.source.feature_names,
            path=self._out,
        )

    @contextmanager
    def _writing(self) -> Iterator[RunStore]:
        """The store, made when first needed; a failure says what is kept and leaves everything older alone."""
        assert self._out is not None
        if self._store is None:
            try:
                with RunStore.creating(self._out, self.attributes, overwrite=self._overwrite) as store:
                    store.write_names(self.source.row_names, self.source.feature_names)
                    yield store
            except StoreError as error:
                raise StoreError(f"{error}; nothing was written") from error
            self._store = RunStore.open(self._out, mode="r+")
            return
        try:
            yield self._store
        except StoreError as error:
            resume = f"nmfkit resume {shlex.quote(self._out)}"
            raise StoreError(f"{error}; sweep {self._store.kept} is kept, continue from it with: {resume}") from error
