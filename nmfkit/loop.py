"""The only loop: sweep, objective, stop, apply."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nmfkit.errors import NmfkitError
from nmfkit.problem import Problem
from nmfkit.protocols import Executor, Model, RowStore, Shared, Stats

WINDOW = 10
"""Sweeps over which the relative decrease is measured, so that one slow sweep does not end a fit."""


@dataclass(frozen=True)
class Record:
    """One row of the history: the objective after `sweep` updates of the shared factors."""

    sweep: int
    objective: float
    seconds: float


@dataclass(frozen=True)
class State:
    """A fit between two sweeps.

    `rows` were fitted to `current`, and `history[-1]` is the objective of that pair; `following` is what the
    next sweep starts from. Continuing from `rows` and `following` repeats the uninterrupted fit exactly. While a fit
    runs, both may be held by its executor; `fetched` makes them plain.
    """

    rows: RowStore
    current: Any
    following: Any
    history: tuple[Record, ...] = field(repr=False)
    stopped_by: str | None = None

    def fetched(self, executor: Executor) -> State:
        """This state with plain shared states."""
        return replace(self, current=executor.fetch(self.current), following=executor.fetch(self.following))

    @property
    def sweep(self) -> int:
        """Updates of the shared factors so far."""
        return self.history[-1].sweep

    @property
    def objective(self) -> float:
        """The objective of `rows` and `current`."""
        return self.history[-1].objective


def iterate(
    model: Model,
    executor: Executor,
    problem: Problem,
    rows: RowStore,
    shared: Any,
    history: tuple[Record, ...] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[State]:
    """Yield the state after each sweep; the last one says in `stopped_by` why it is the last.

    Sweep 0 fits W to the starting H. `history` is that of an earlier run to continue. Raises `NmfkitError`
    when the objective is no finite number any more.
    """
    started = clock()
    before = history[-1].seconds if history else 0.0
    records = list(history)
    while True:
        rows, objective, following = executor.advance(model, rows, shared)
        number = records[-1].sweep + 1 if records else 0
        if not math.isfinite(objective):
            raise NmfkitError(
                f"the objective is {objective} after sweep {number}: the factors have left the range of their dtype; "
                "try dtype float64, or another starting point"
            )
        records.append(Record(number, objective, before + clock() - started))
        stopped_by = reason_to_stop(problem, records, clock() - started)
        yield State(rows, shared, following, tuple(records), stopped_by)
        if stopped_by:
            return
        shared = following


def concluded(model: Model, shared: Shared, stats: Stats) -> tuple[float, Shared]:
    """What follows from the sums of a sweep: the objective and the next shared state (as it was, without one)."""
    objective = float(model.objective(shared, stats))
    if not math.isfinite(objective):
        return objective, shared
    try:
        with np.errstate(over="raise"):
            return objective, model.apply(shared, stats)
    except FloatingPointError as error:
        raise NmfkitError(
            f"{error} in the update of the shared factors: numbers have left the range of their dtype; rescale the "
            "data, or compute in dtype float64"
        ) from error


def reason_to_stop(problem: Problem, records: list[Record], seconds: float) -> str | None:
    """ "converged", "max-sweeps", "time-limit", or None to go on; `seconds` of this run alone."""
    last = records[-1]
    if last.sweep >= problem.max_sweeps:
        return "max-sweeps"
    if problem.time_limit is not None and seconds >= problem.time_limit:
        return "time-limit"
    if problem.tol > 0 and len(records) > WINDOW:
        earlier = records[-1 - WINDOW].objective
        if earlier - last.objective <= problem.tol * abs(last.objective):
            return "converged"
    return None


class Watcher:
    """Hears of a fit's progress; override what is of interest."""

    def stage(self, name: str) -> None:
        """A new stage begins: "cluster", "staging", "probe", "start", "sweeps", "write"."""

    def crew(self, crew: Any) -> None:
        """The workers are there, and can do what is asked; `str(crew)` says who they are."""

    def note(self, sentence: str) -> None:
        """Something that the user may want to know now: no worker yet, a worker lost."""

    def slow(self, worker: str, part: float) -> None:
        """Most of a sweep is done, and `worker` has done `part` of its share; called from another thread."""

    def found(self, probe: Any) -> None:
        """The data have been looked at: a `Probe`."""

    def plan(self, plan: Any, cautions: list[str]) -> None:
        """The layout is fixed; `cautions` are sentences for the user."""

    def block(self, size: int) -> None:
        """A block of `size` bytes is done; called from worker threads."""

    def sweep(self, state: State) -> None:
        """A sweep is done."""

    def checkpoint(self, sweep: int) -> None:
        """A checkpoint is on disk."""
