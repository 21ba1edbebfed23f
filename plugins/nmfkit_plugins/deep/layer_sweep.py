"""Sweeps in which a factor stands for the matrix, so that a plain model can be fitted to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nmfkit.blocks import Array, Block, Dense
from nmfkit.errors import NmfkitError
from nmfkit.executors.rows import ResidentRows
from nmfkit.loop import concluded
from nmfkit.protocols import Advance, Model, Rows, RowStore, Shared, Stats, Step, Sweep
from nmfkit.stats import widen


@dataclass(frozen=True)
class Shape:
    """What a survey wants to know of a factor before it looks at it."""

    shape: tuple[int, int]
    is_sparse: bool = False


@dataclass(frozen=True)
class RowSweep:
    """Sweeps over the rows of the factor `data`, which `rows` holds beside the others that are `carried` along."""

    sweep: Sweep
    rows: RowStore
    data: str
    carried: tuple[str, ...]

    def __call__(
        self, step: Step, rows: RowStore | None, shared: Shared, *, data: bool = True, tiles: bool = True
    ) -> tuple[RowStore, Stats]:
        """As any sweep; X is not read."""
        del data, tiles
        return self.sweep(OnFactor(step, self.data, self.carried), rows or self.rows, shared, data=False)


@dataclass(frozen=True)
class OnFactor:
    """A step for which the rows of a factor are the block."""

    step: Step
    data: str
    carried: tuple[str, ...]

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """The step's own rows and statistics, with the rows that are carried along."""
        carried = {name: rows[name] for name in self.carried}
        own = {name: f for name, f in rows.items() if name not in carried}
        new, stats = self.step(Dense(rows[self.data], x.first, x.whole), own, shared)
        return {**carried, **new}, stats


@dataclass(frozen=True)
class WholeSweep:
    """Sweeps over a matrix that is at hand as a single block."""

    matrix: Array

    def __call__(
        self, step: Step, rows: RowStore | None, shared: Shared, *, data: bool = True, tiles: bool = True
    ) -> tuple[RowStore, Stats]:
        """One call of `step`; raises `NmfkitError` where numbers leave their range."""
        del data, tiles
        count = len(self.matrix)
        try:
            with np.errstate(over="raise"):
                new, stats = step(Dense(self.matrix, 0, count), rows.read(0, count) if rows else {}, shared)
        except FloatingPointError as error:
            raise NmfkitError(
                f"{error} in a layer below the first: numbers have left the range of their dtype; rescale the data, "
                "or compute in dtype float64"
            ) from error
        return ResidentRows(new), widen(stats)


@dataclass(frozen=True)
class Advancing:
    """As much of an executor as the loop needs, on any kind of sweep."""

    sweep: Sweep

    def advance(self, model: Model, rows: RowStore, shared: Any) -> Advance:
        """A sweep of `model.local` and what follows from it."""
        new, stats = self.sweep(model.local, rows, shared)
        return Advance(new, *concluded(model, shared, stats))

    def fetch(self, shared: Any) -> Shared:
        """The state as it is: it never leaves this process."""
        state: Shared = shared
        return state


def named(sweep: Sweep, rows: RowStore, old: str, new: str, carried: tuple[str, ...], scale: Array) -> RowStore:
    """The rows of factor `old` times `scale` (r,), under the name `new`, beside those that are carried along."""
    renamed, _ = sweep(_Named(old, new, carried), rows, {"scale": scale}, data=False)
    return renamed


@dataclass(frozen=True)
class _Named:
    old: str
    new: str
    carried: tuple[str, ...]

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        del x
        f = rows[self.old]
        scaled = f * shared["scale"].astype(f.dtype)
        return {**{name: rows[name] for name in self.carried}, self.new: scaled}, ()


def column_sums(sweep: Sweep, rows: RowStore, name: str) -> Array:
    """The sums of the columns of a row factor, in float64."""
    _, sums = sweep(_Sums(name), rows, {}, data=False)
    found: Array = sums
    return found


@dataclass(frozen=True)
class _Sums:
    name: str

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        del x, shared
        return rows, rows[self.name].sum(axis=0, dtype="float64")
