"""What workers tell the client between the passes of a sweep: the state in its changes, and the pass that is due."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import cloudpickle

from nmfkit.executors.worker import INLINE, Parcel, Partial, ShardReport, StateName, merge
from nmfkit.protocols import Draw, Phased, Shared


@dataclass(frozen=True)
class Changed:
    """A shared state as some names of another, which is where workers can have it, and what differs from it.

    So the large arrays of a state are neither sent nor fetched again when a pass changes a few numbers.
    """

    base: Parcel | StateName
    same: tuple[str, ...]
    changes: dict[str, Any]

    @classmethod
    def of(cls, state: Shared, base: Parcel | StateName, opened: Shared) -> Changed:
        """`state`, as far as its values are not the very objects of `base`, which is `opened`."""
        same = tuple(name for name, value in state.items() if name in opened and opened[name] is value)
        return cls(base, same, {name: value for name, value in state.items() if name not in same})

    def open(self) -> Shared:
        """The state; its base is asked for only if it is needed."""
        return self.over(self.base.open()) if self.same else dict(self.changes)

    def over(self, opened: Shared) -> Shared:
        """The state, with `opened` for its base."""
        return {**{name: opened[name] for name in self.same}, **self.changes}


class PassDue(NamedTuple):
    """A pass, ready to be sent: a pickled step, and what it needs of the state."""

    step: bytes
    shared: Changed
    data: bool
    draw: Draw | None


class Passed(NamedTuple):
    """Where a sweep stands: the state, the pass that is due (None: `local`), and what the last pass has written."""

    state: Changed
    due: PassDue | None
    names: tuple[str, ...] = ()
    reports: tuple[ShardReport, ...] = ()


def first_pass(model: Parcel, base: Parcel | StateName) -> Passed:
    """The first pass of a sweep that starts from the state `base`."""
    opened: Shared = base.open()
    return _next(model.open(), opened, base, opened)


def conclude_pass(model: Parcel, state: Changed, place: StateName, *partials: Partial) -> Passed:
    """The state after a pass, from its sums, and the next pass; a state of large changes is written to `place`."""
    total, phased = merge(*partials), model.open()
    opened: Shared = state.base.open()
    after = phased.after(state.over(opened), total.stats)
    base: Parcel | StateName = state.base
    if size_of(Changed.of(after, base, opened).changes) > INLINE:
        place.write(after)
        base, opened = place, after
    return _next(phased, after, base, opened)._replace(names=total.names, reports=total.reports)


def size_of(value: Any) -> int:
    """Bytes of the arrays in a nest of dicts, tuples and lists."""
    if isinstance(value, dict):
        return sum(map(size_of, value.values()))
    return sum(map(size_of, value)) if isinstance(value, tuple | list) else int(getattr(value, "nbytes", 0))


def _next(model: Phased, state: Shared, base: Parcel | StateName, opened: Shared) -> Passed:
    due = model.phase(state)
    there = Changed.of(state, base, opened)
    if due is None:
        return Passed(there, None)
    sent = Changed.of(due.shared, base, opened)
    return Passed(there, PassDue(cloudpickle.dumps(due.step), sent, due.data, due.draw))
