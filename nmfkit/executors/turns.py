"""A group's turn in a sweep by groups, as workers end it."""

from __future__ import annotations

from dataclasses import dataclass

from nmfkit.executors.worker import Errand, Opens, Outcome, Parcel, Partial, StateName, merge
from nmfkit.loop import renewed, retraced
from nmfkit.protocols import Parted, Shared


@dataclass(frozen=True)
class Turn:
    """A group's turn in a sweep: names of what it left `before`, of what it will have `left`, of what all groups seen
    by then have left, in order, each with its age in turns, and of the state that follows. The turn that `ends` the
    sweep knows the `start` of it, too: its state, and what all groups had left by then.
    """

    before: StateName | None
    left: StateName
    seen: tuple[tuple[int, StateName], ...]
    following: StateName
    ends: bool
    start: tuple[Opens, tuple[StateName, ...]]


def conclude_turn(errand: Errand, model: Parcel, turn: Turn, *partials: Partial) -> Outcome:
    """The end of a group's turn: what it leaves and the next shared state are written under the names of `turn`."""
    total = merge(*partials)
    parted: Parted = model.open()
    shared: Shared = errand.shared.open()
    before = None if turn.before is None else turn.before.load()
    left = parted.kept(shared, total.stats, before)
    turn.left.save(left)
    # One after the other: together they may be much larger than any one.
    seen = ((age, left if name == turn.left else name.load()) for age, name in turn.seen)
    end = renewed(parted, shared, seen, ends=turn.ends)
    start, kept = turn.start
    following = end.following if end.accepted else retraced(parted, start.open(), (name.load() for name in kept))
    turn.following.write(following)
    return Outcome(end.objective, end.accepted, total.names, total.reports)
