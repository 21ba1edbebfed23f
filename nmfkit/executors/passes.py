"""The passes over the rows that a phased model takes before a sweep, and the rows as they leave them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import TypeAlias

from nmfkit.loop import is_phased
from nmfkit.protocols import Draw, Model, Rows, RowStore, Shared, Stats, Step, Sweep

Drawn: TypeAlias = Callable[[Step, Shared, Draw], Stats]
"""The sums of a step over the rows of a batch."""


@dataclass(frozen=True)
class Beside:
    """The rows of two stores together; of a factor that is in both, those of the second."""

    one: RowStore
    other: RowStore

    @property
    def lasting(self) -> bool:
        """Whether either is in this process only."""
        return self.one.lasting or self.other.lasting

    def read(self, lo: int, hi: int) -> Rows:
        """The rows `lo` … `hi` of every factor of both."""
        return {**self.one.read(lo, hi), **self.other.read(lo, hi)}

    def part(self, lo: int, hi: int) -> Beside:
        """The parts of both."""
        return Beside(self.one.part(lo, hi), self.other.part(lo, hi))


class RowsSoFar:
    """Rows as the passes of a sweep leave them; those that no later pass will see are let go."""

    def __init__(self, rows: RowStore) -> None:
        self._first = rows
        self._made: list[tuple[frozenset[str], RowStore]] = []

    def take(self, made: RowStore, names: Iterable[str]) -> None:
        """What a pass has made: the factors `names`."""
        if new := frozenset(names):
            self._made = [(old, store) for old, store in self._made if not old <= new] + [(new, made)]

    @property
    def rows(self) -> RowStore:
        """All of them."""
        return reduce(Beside, (store for _, store in self._made), self._first)


def passed(
    model: Model, sweep: Sweep, rows: RowStore, shared: Shared, drawn: Drawn | None = None
) -> tuple[RowStore, Shared]:
    """Rows and state after the passes of a phased model, over all rows by `sweep` and over batches by `drawn`.

    Those of any other model as they were.
    """
    if not is_phased(model):
        return rows, shared
    so_far = RowsSoFar(rows)
    while (due := model.phase(shared)) is not None:
        if due.draw is not None:
            assert drawn is not None, "whoever takes passes over batches forms them"
            stats = drawn(due.step, due.shared, due.draw)
        else:
            made, stats = sweep(due.step, so_far.rows, due.shared, data=due.data)
            so_far.take(made, made.read(0, 1))
        shared = model.after(shared, stats)
    return so_far.rows, shared
