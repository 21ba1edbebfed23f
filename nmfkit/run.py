"""A fit on its way: the loop driven to its end, and written down as it goes."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from uuid import uuid4

from nmfkit.check import Resolved
from nmfkit.errors import Interrupted, NmfkitError, StoreError
from nmfkit.executors.blobs import Blobs
from nmfkit.executors.rows import ResidentRows
from nmfkit.interrupts import deferred, raise_if_missed
from nmfkit.loop import State, Watcher, is_open, iterate, reopened
from nmfkit.protocols import Executor, RowStore, Shared, Source
from nmfkit.result import Result, made_columns
from nmfkit.sources.staging import check_output, local_path
from nmfkit.sources.uri import is_remote
from nmfkit.stopping import Gauge, reason_to_stop
from nmfkit.store import FINAL, RunStore

CHECKPOINT_SECONDS = 60.0
"""Time between checkpoints when no number of sweeps is given."""


class Run:
    """A fit of `resolved` on `source` by `executor`, kept at `out` if that is given.

    `attributes` are those of the run store, `options` open an `out` that is a URI. `store` is that of a run that goes
    on. A new one appears with its first checkpoint; where workers keep rows in it, before the first sweep.
    """

    def __init__(
        self,
        resolved: Resolved,
        source: Source,
        executor: Executor,
        attributes: Mapping[str, Any],
        *,
        out: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        options: Mapping[str, Any] | None = None,
        store: RunStore | None = None,
        checkpoint_every: int | None = None,
        watcher: Watcher,
    ) -> None:
        self.resolved, self.source, self.executor, self.attributes = resolved, source, executor, dict(attributes)
        self.checkpoint_every, self.watcher = checkpoint_every, watcher
        self._out = None if out is None else str(out) if is_remote(str(out)) else str(local_path(str(out)))
        self._options = options
        self._overwrite, self._store = overwrite, store
        self._started = time.monotonic()
        self._session: str | None = None
        self._replaced: Path | None = None
        if self._out is not None and isinstance(executor, WorksInRun):
            self._open_for(executor)

    def _open_for(self, executor: WorksInRun) -> None:
        """Make the run now, unless it goes on, and let workers keep rows in it."""
        self._replaced = self._set_aside() if self._store is None else None
        try:
            with self._writing():
                pass
            assert self._store is not None
            self._session = executor.work_in(self._store.work)
        except BaseException:
            self._put_back()
            raise

    def begin(self, rows: RowStore, shared: Shared) -> Result:
        """Fit from a start."""
        return self._finish(self._loop(rows, shared))

    def abandon(self) -> None:
        """Remove a run of this process that ended before it held anything, and put back what it was to replace."""
        if self._session is None or self._store is None or self._store.kept is not None:
            return
        if self._session in self._store.work.folders():  # else another process has replaced it
            self._store.remove()
            self._put_back()

    def _put_back(self) -> None:
        """Let the run that was to be replaced stand where it stood, unless something else does."""
        if self._replaced is not None and not Path(str(self._out)).exists():
            self._replaced.rename(str(self._out))
            self._replaced = None

    def _set_aside(self) -> Path | None:
        """Where the run that this one will replace waits until this one holds something."""
        assert self._out is not None
        if is_remote(self._out) or not self._overwrite or not Path(self._out).exists():
            return None
        check_output(self._out, overwrite=True)
        aside = Path(self._out).with_name(f".{Path(self._out).name}.old-{uuid4().hex[:8]}")
        return Path(self._out).rename(aside)

    def _drop_replaced(self) -> None:
        if self._replaced is not None:
            shutil.rmtree(self._replaced, ignore_errors=True)
            self._replaced = None

    def go_on(self, state: State) -> Result:
        """Fit on from a state, unless it is at its end by the problem's present limits."""
        model = self.resolved.model
        done, gauge = not is_open(model, state), Gauge.of(model, state.following)
        reason = reason_to_stop(self.resolved.problem, list(state.history), 0.0, gauge) if done else None
        if reason is None:
            state = self._loop(state.rows, state.following, state)
        return self._finish(replace(state, stopped_by=reason or state.stopped_by))

    def _loop(self, rows: RowStore, shared: Shared, earlier: State | None = None) -> State:
        self.watcher.stage("sweeps")
        state, saved = earlier, time.monotonic()
        try:
            for state in self._sweeps(rows, shared, earlier):
                self.watcher.sweep(state)
                raise_if_missed()
                if not state.stopped_by and self._is_due(state, saved):
                    self._checkpoint(state)
                    saved = time.monotonic()
        except KeyboardInterrupt:
            if state is None or self._out is None:
                raise
            self._checkpoint(state, status="interrupted", objective=state.objective)
            raise Interrupted(self._out, state.sweep) from None
        except StoreError:
            raise  # says itself what is kept
        except Exception as error:
            if state is not None and self._out is not None:
                error.add_note(self._keep(state))
            raise
        assert state is not None
        return state

    def _sweeps(self, rows: RowStore, shared: Shared, earlier: State | None) -> Iterator[State]:
        history = reopened(self.resolved.model, earlier) if earlier else ()
        current = earlier.current if earlier else None
        return iterate(self.resolved.model, self.executor, self.resolved.problem, rows, shared, history, current)

    def _is_due(self, state: State, saved: float) -> bool:
        if self._out is None:
            return False
        if self._session is not None and self._store is not None and self._store.kept is None:
            return True  # the rows are in the run already: from now on it can be continued
        if self.checkpoint_every:
            return state.sweep > 0 and state.sweep % self.checkpoint_every == 0
        return time.monotonic() - saved >= CHECKPOINT_SECONDS

    def _keep(self, state: State) -> str:
        """Keep the last good state when something has gone wrong; returns a sentence on it."""
        try:
            self._checkpoint(state, status="interrupted", objective=state.objective)
        except NmfkitError as error:
            return f"the last sweep could not be kept: {error}"
        return f"sweep {state.sweep} is kept; continue from it with: {_resume(self._out)}"

    def _checkpoint(self, state: State, **attributes: Any) -> None:
        """Keep `state`, so that a later `resume` continues from it; with `attributes`, as the last thing done."""
        with deferred(forget=bool(attributes)), self._writing() as store:
            if store.kept != state.sweep:
                store.checkpoint(state.fetched(self.executor), self.source.shape[0], self.executor.each)
            if attributes and store.slot != FINAL:
                store.update(**attributes)
        self._drop_replaced()
        self.watcher.checkpoint(state.sweep)

    def _finish(self, state: State) -> Result:
        """The result, written if there is an output; Ctrl-C has nothing left to interrupt then."""
        seconds = time.monotonic() - self._started
        timings = {"total_seconds": seconds, "sweep_seconds": state.history[-1].seconds}
        attributes = {**self.attributes, "timings": timings}
        if self._out is None:
            state = state.fetched(self.executor)
        else:
            with deferred(forget=True), self._writing() as store:
                self.watcher.stage("write")
                if self._session is not None and store.kept is None:
                    # Costs next to nothing, and is there should the rest fail.
                    store.checkpoint(state.fetched(self.executor), self.source.shape[0], self.executor.each)
                state = state.fetched(self.executor)
                factors = self.resolved.model.factors(state.current)
                store.finish(state, self.source.shape[0], factors, self.executor.each, timings=timings)
                attributes = store.attributes
            self._drop_replaced()
        if not state.rows.lasting:
            # What they came from is gone, or goes with the executor.
            lasting = ResidentRows(state.rows.read(0, self.source.shape[0])) if self._store is None else None
            state = replace(state, rows=lasting) if lasting else self._restored()
        return Result(
            problem=self.resolved.problem,
            state=state,
            shape=self.source.shape,
            attributes=attributes,
            row_names=self.source.row_names,
            feature_names=self.source.feature_names,
            path=self._out,
        )

    def _restored(self) -> State:
        assert self._store is not None
        return self._store.restore()

    @contextmanager
    def _writing(self) -> Iterator[RunStore]:
        """The store, made when first needed; a failure says what is kept and leaves everything older alone."""
        assert self._out is not None
        if self._store is None:
            try:
                with RunStore.creating(
                    self._out, self.attributes, overwrite=self._overwrite, options=self._options
                ) as store:
                    names, n = self.source.feature_names, self.source.shape[1]
                    store.write_names(self.source.row_names, names, made_columns(self.resolved.model, names, n))
                    yield store
            except StoreError as error:
                raise StoreError(f"{error}; nothing was written") from error
            self._store = RunStore.open(self._out, mode="r+", options=self._options)
            return
        try:
            yield self._store
        except StoreError as error:
            kept = self._store.kept
            if kept is None:
                raise StoreError(f"{error}; nothing is kept yet") from error
            raise StoreError(f"{error}; sweep {kept} is kept, continue from it with: {_resume(self._out)}") from error


def _resume(path: str | None) -> str:
    return f"nmfkit resume {shlex.quote(str(path))}"


@runtime_checkable
class WorksInRun(Protocol):
    """An executor whose workers keep rows of W and shared states in the run itself."""

    def work_in(self, blobs: Blobs) -> str:
        """Keep them in a folder of `blobs` from now on; returns its name."""
        ...
