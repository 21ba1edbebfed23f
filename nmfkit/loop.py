"""The only loop: sweep, objective, stop, apply."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, TypeVar

import numpy as np

from nmfkit.errors import NmfkitError
from nmfkit.problem import Problem
from nmfkit.protocols import (
    Advance,
    Closes,
    Draws,
    Executor,
    Guarded,
    KeepsBest,
    Model,
    Parted,
    Phased,
    RowStore,
    Shared,
    Stats,
)
from nmfkit.stats import add, times, widen
from nmfkit.stopping import Gauge, reason_of, reason_to_stop
from nmfkit.terms import offers

if TYPE_CHECKING:
    from nmfkit.executors.plan import Plan
    from nmfkit.hookspecs import FitDescription, FitEnd

T = TypeVar("T")

APART = frozenset({"kept", "grouping"})
"""Names in a plain shared state for what groups of shards have left, and which groups those were."""


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
    runs, both may be held by its executor; `fetched` makes them plain. `unfitted` is that of the fit's `Gauge`.
    """

    rows: RowStore
    current: Any
    following: Any
    history: tuple[Record, ...] = field(repr=False)
    stopped_by: str | None = None
    unfitted: float = math.inf

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
    current: Any = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[State]:
    """Yield the state after each sweep; the last one says in `stopped_by` why it is the last.

    `history` and `current` are those of an earlier run to continue. A sweep that the model refuses, or that is not the
    best where the best one counts, changes nothing but what the next one starts from. The objective of a `Parted` model
    is a bound until its last sweep, the closing one, which follows on the reason to stop, as for one that `Closes`.
    Raises `NmfkitError` when the objective is no finite number any more.
    """
    started = clock()
    before = history[-1].seconds if history else 0.0
    records = list(history)
    kept = current
    closing = is_closing(model)
    gauge = Gauge.of(model, executor.fetch(shared))
    reason = None
    if closing and records:
        reason = reason_to_stop(problem, records, 0.0, gauge) or reason_of(model, partial(executor.fetch, shared))
    while True:
        number = records[-1].sweep + 1 if records else 0
        if closes := closing and (reason is not None or number >= problem.max_sweeps):
            new = closed(model, executor, rows, shared)
        else:
            new = executor.advance(model, rows, shared)
        if new.accepted and not _worse(model, new.objective, records, closes):
            rows, objective = new.rows, new.objective
            kept = shared if new.current is None else new.current
        else:
            objective = records[-1].objective
        if not math.isfinite(objective):
            raise NmfkitError(
                f"the objective is {objective} after sweep {number}: the factors have left the range of their dtype; "
                "try dtype float64, or another starting point"
            )
        records.append(Record(number, objective, before + clock() - started))
        reason = reason or reason_to_stop(problem, records, clock() - started, gauge)
        reason = reason or reason_of(model, partial(executor.fetch, new.following))
        stopped_by = reason if closes or not closing else None
        yield State(rows, kept, new.following, tuple(records), stopped_by, gauge.unfitted)
        if stopped_by:
            return
        shared = new.following


def is_parted(model: Model) -> TypeGuard[Parted]:
    """Whether sweeps of `model` go through one part of the data after the other."""
    # Asking for a protocol takes as long as a sweep of a tiny matrix: most models need not be asked.
    return bool(getattr(model, "groups", 0)) and isinstance(model, Parted)


def is_closing(model: Model) -> bool:
    """Whether the last sweep of `model` is another one."""
    return is_parted(model) or (bool(getattr(model, "closes", False)) and isinstance(model, Closes))


def keeps_best(model: Model) -> bool:
    """Whether of all sweeps of `model` the best one counts."""
    return bool(getattr(model, "keeps_best", False)) and isinstance(model, KeepsBest)


def _worse(model: Model, objective: float, records: list[Record], closes: bool) -> bool:
    """Whether a sweep is not the best so far, where the best one counts."""
    counts = closes or not records or not keeps_best(model) or not math.isfinite(objective)
    return not counts and objective > records[-1].objective


def is_phased(model: Model) -> TypeGuard[Phased]:
    """Whether sweeps of `model` take passes over the rows before `local`."""
    return bool(getattr(model, "phased", False)) and isinstance(model, Phased)


def is_drawing(model: Model) -> bool:
    """Whether sweeps of `model` take batches, which leave another state than a sweep begins with to its rows."""
    return bool(getattr(model, "draws", False)) and isinstance(model, Draws)


def is_guarded(model: Model) -> TypeGuard[Guarded]:
    """Whether `model` may take a step back."""
    return offers(model, Guarded)


def closed(model: Any, executor: Executor, rows: RowStore, shared: Any) -> Advance:
    """The last sweep: rows fitted to what `shared` ends at; it still follows, for a fit may go on from the rows before.

    Where groups fade, that is not its own end, which may be higher than the last record.
    """
    plain = executor.fetch(shared)
    state = _ended(model, plain) if is_parted(model) else model.closing_state(plain)
    new, stats = executor.sweep(model.closing, rows, state)
    return Advance(new, model.objective(state, stats), shared, True, state)


def _ended(model: Parted, plain: Shared) -> Shared:
    """The state that a `Parted` model closes with."""
    state = {name: value for name, value in plain.items() if name not in APART}
    return retraced(model, state, plain["kept"]) if "kept" in plain and model.fading(state) < 1 else state


def is_open(model: Model, state: State) -> bool:
    """Whether a fit cannot end at `state`, because its closing sweep is to come."""
    return is_closing(model) and state.stopped_by is None


def reopened(model: Model, state: State) -> tuple[Record, ...]:
    """The history that an earlier run is continued with: a closing sweep is done again, where that one stops."""
    return state.history[:-1] if is_closing(model) and state.stopped_by else state.history


def unparted(model: Parted, shared: Shared, plan: Plan) -> tuple[Shared, list[Stats | None]]:
    """A plain shared state without what the groups of `plan` have left, and that; other groups have left nothing."""
    state = {name: value for name, value in shared.items() if name not in APART}
    if "kept" not in shared:
        return state, [None] * len(plan.groups)
    if shared["grouping"] == plan.grouping:
        return state, list(shared["kept"])
    return model.regrouped(retraced(model, state, shared["kept"])), [None] * len(plan.groups)


class Conclusion(NamedTuple):
    """What follows from the sums of a sweep: its objective, the next shared state, whether the sweep counts."""

    objective: float
    following: Shared
    accepted: bool


def concluded(model: Model, shared: Shared, stats: Stats, passed: Shared | None = None) -> Conclusion:
    """The end of a sweep; its shared state is the one before where the objective is no finite number.

    `passed` is the state that passes before `local` have left, where there were any.
    """
    now = shared if passed is None else passed
    objective = float(model.objective(now, stats))
    back = model.refused(shared, objective) if is_guarded(model) else None
    if back is not None:
        return Conclusion(objective, back, False)
    if not math.isfinite(objective):
        return Conclusion(objective, shared, True)
    return Conclusion(objective, _in_range(lambda: model.apply(now, stats)), True)


def renewed(model: Parted, shared: Shared, kept: Iterable[tuple[int, Stats]], *, ends: bool) -> Conclusion:
    """The end of a group's turn, from what all groups seen so far have left, in their order, so many turns ago.

    Where the sweep does not count, its state is to be `retraced`.
    """
    fading = model.fading(shared)
    total = faded = None
    for age, stats in kept:
        total = widen(stats) if total is None else add(total, stats)
        if fading < 1:
            part = times(stats, fading**age)
            faded = part if faded is None else add(faded, part)
    objective = float(model.bound(shared, total))
    if not math.isfinite(objective):
        return Conclusion(objective, shared, True)
    if ends and model.overshot(shared, objective):
        return Conclusion(objective, shared, False)
    recent = total if fading >= 1 else faded
    return Conclusion(objective, _in_range(lambda: model.renew(shared, total, recent, ends=ends)), True)


def retraced(model: Parted, shared: Shared, kept: Iterable[Stats]) -> Shared:
    """The state to go on with from the rows before a sweep that does not count, and from what they had left."""
    total = None
    for stats in kept:
        total = widen(stats) if total is None else add(total, stats)
    return _in_range(lambda: model.renew(model.retrace(shared), total, total, ends=False))


def aged(kept: Sequence[T | None], turn: int) -> Iterator[tuple[int, T]]:
    """What groups have left, where they have, with the number of turns since, after that of group `turn`."""
    for group, left in enumerate(kept):
        if left is not None:
            yield (turn - group) % len(kept), left


def _in_range(update: Callable[[], Shared]) -> Shared:
    try:
        with np.errstate(over="raise"):
            return update()
    except FloatingPointError as error:
        raise NmfkitError(
            f"{error} in the update of the shared factors: numbers have left the range of their dtype; rescale the "
            "data, or compute in dtype float64"
        ) from error


class Watcher:
    """Hears of a fit's progress; override what is of interest."""

    def started(self, fit: FitDescription) -> None:
        """A fit begins; not called by what only transforms or scores."""

    def finished(self, end: FitEnd) -> None:
        """The fit that was `started` has ended: done, interrupted or failed."""

    def fault(self, sentence: str) -> None:
        """Somebody else who listens has failed, and the fit goes on; printed on standard error unless overridden."""
        print(f"nmfkit: {sentence}", file=sys.stderr)

    def stage(self, name: str) -> None:
        """A new stage begins: "cluster", "staging", "probe", "start", "pilot", "sketch",
        "calibrate", "sweeps", "write".
        """

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
