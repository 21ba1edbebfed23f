"""A step of a factor that is sharded with the rows of X and whose columns must keep their sums, in passes.

The multipliers of the sums (`nmfkit.multipliers`) depend on every row, but need no more than a few numbers a column of
all of them. So a sweep begins with passes over the rows that look for them, and `local` takes the step once they are
known: to the minimiser of the surrogate among all factors of such sums, as if the whole of it were at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.protocols import Halves, HasSplit, Pass, Rows, Shared, Stats
from nmfkit.summed import Multipliers, held, statistics
from nmfkit.surrogate import Surrogate

Made: TypeAlias = Callable[[Block, Rows, Shared], tuple[Array, Surrogate]]
"""From a block, its rows and the state: the rows (rows, r) that a step starts from, and the surrogate there."""


@dataclass(frozen=True)
class ColumnStep:
    """The step of the factor `name`, whose columns sum to `total`; no entry goes below `floor` where there is room.

    Calls `made` in every pass and for the step itself. Where that `reads` X, or costs more than a pass should
    (`kept`), it is called in the first pass alone, and what it gave lies beside the rows until the sweep ends.
    """

    name: str
    total: float
    floor: float
    made: Made
    reads: bool = False
    kept: bool = False

    @property
    def searching(self) -> str:
        """The name in the state under which the search stands."""
        return f"{self.name}.search"

    def found(self, shared: Shared) -> Multipliers:
        """Where the search stands."""
        state = shared.get(self.searching)
        return Multipliers(self.total, False, self.floor) if state is None else Multipliers.of(state)

    def phase(self, shared: Shared) -> Pass | None:
        """The next pass of the search, None once the multipliers are known."""
        if self.searching not in shared:
            return Pass(self.look, shared, data=self.reads)
        return None if self.found(shared).done else Pass(self.search, shared, data=False)

    def after(self, shared: Shared, stats: Stats) -> Shared:
        """The state after a pass."""
        return {**shared, self.searching: self.found(shared).next(stats).as_dict()}

    def ended(self, shared: Shared) -> Shared:
        """The state without the search, as the next sweep must find it."""
        return {name: value for name, value in shared.items() if name != self.searching}

    def look(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """The first pass over a block."""
        f, surrogate = self.made(x, rows, shared)
        beside = _stored(self.name, f, surrogate) if self.reads or self.kept else {}
        return beside, statistics(surrogate, f, self.found(shared))

    def search(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """A later pass over a block: a few numbers a column, and no rows."""
        f, surrogate = self._again(x, rows, shared)
        return {}, statistics(surrogate, f, self.found(shared))

    def taken(self, x: Block, rows: Rows, shared: Shared) -> Array:
        """The new rows of a block, once the multipliers are known."""
        f, surrogate = self._again(x, rows, shared)
        return held(surrogate, f, self.found(shared))

    def _again(self, x: Block, rows: Rows, shared: Shared) -> tuple[Array, Surrogate]:
        return _restored(self.name, rows) if self.reads or self.kept else self.made(x, rows, shared)


def _stored(name: str, f: Array, surrogate: Surrogate) -> Rows:
    """Both as rows; a block of one row cannot tell a coefficient of each column from one of each entry."""
    wide = {f"{name}.power {float(p)!r}": c + np.zeros_like(f) for p, c in surrogate.items()}
    return {f"{name}.from": f, **wide}


def _restored(name: str, rows: Rows) -> tuple[Array, Surrogate]:
    start = f"{name}.power "
    return rows[f"{name}.from"], {float(k.removeprefix(start)): c for k, c in rows.items() if k.startswith(start)}


@dataclass(frozen=True)
class ColumnTotals:
    """The step that sums up the columns of what `made` gives for a block, in float64: {`name`: (1, r)}."""

    name: str
    made: Callable[[Block, Rows, Shared], Array]

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """No rows, and the sums."""
        return {}, {self.name: np.sum(self.made(x, rows, shared), axis=0, keepdims=True, dtype=np.float64)}


def onto_totals(f: Array, sums: Array, total: float, whole: int) -> Array:
    """Rows `f` of a factor of `whole` rows whose columns have such `sums`, rescaled to `total`.

    A column that is all zero becomes equal entries.
    """
    there = sums > 0
    scaled = f.astype(np.float64, copy=False) * (total / np.where(there, sums, np.full_like(sums, total)))
    full: Array = np.where(there, scaled, np.full_like(scaled, total / whole)).astype(f.dtype, copy=False)
    return full


def too_steep(loss: Any) -> list[str]:
    """Why columns cannot be held to sums beside a loss whose surrogate grows faster than a square; nothing else."""
    one = np.ones((1, 1))
    if not isinstance(loss, HasSplit) or max(loss.surrogate(Halves(one, one))) <= 2:
        return []
    return [
        "columns of W are held to a sum, and the loss grows faster than a square, so that entries stop at zero where "
        "their sum has a corner: use β ≤ 2, or hold the rows of H to a sum"
    ]
