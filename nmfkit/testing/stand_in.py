"""A place of stand-in arrays: a whole fit on a device, for machines without one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.check import Resolved, resolve_for
from nmfkit.errors import NmfkitError
from nmfkit.executors.host import Host
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.machine import Machine
from nmfkit.executors.open import local_plan
from nmfkit.loop import iterate
from nmfkit.probe import Expected, survey
from nmfkit.protocols import Calibrates, Rows, RowStore, Source
from nmfkit.testing.device import to_device, to_host


class StandIn(Host):
    """What steps get is on the stand-in device, and nothing else is; rows lie on the host between sweeps."""

    def numbers(self, rows: Array) -> Array:  # type: ignore[override]  # a place of the host has none
        """Those of rows, there."""
        there: Array = to_device(rows)
        return there

    def enter(self, value: Any) -> Any:
        """A copy there."""
        return to_device(value)

    def leave(self, value: Any) -> Any:
        """A copy on the host."""
        return to_host(value)

    def rows(self, store: RowStore | None) -> RowStore | None:
        """Rows that are there when they are read."""
        return None if store is None else _There(store)

    def writer(self, *to: Any) -> Any:
        """A writer that brings rows to the host."""
        return _Back(super().writer(*to))

    def block(self, *which: Any) -> Block:
        """A block there."""
        there: Block = to_device(super().block(*which))
        return there

    def blocks(self, *which: Any) -> Iterator[tuple[int, int, Block]]:
        """Blocks there."""
        return ((lo, hi, to_device(x)) for lo, hi, x in super().blocks(*which))


@dataclass(frozen=True)
class _There:
    """Rows of a store of the host, on the stand-in device."""

    store: RowStore

    @property
    def lasting(self) -> bool:
        """As the store is."""
        return self.store.lasting

    def read(self, lo: int, hi: int) -> Rows:
        """Copies there."""
        rows: Rows = to_device(self.store.read(lo, hi))
        return rows

    def part(self, lo: int, hi: int) -> RowStore:
        """Of the store."""
        return _There(self.store.part(lo, hi))


@dataclass(frozen=True)
class _Back:
    """Takes rows from the stand-in device to a writer on the host."""

    writer: Any

    def write(self, lo: int, rows: Rows) -> None:
        """Copies of them."""
        self.writer.write(lo, to_host(rows))

    def block(self, lo: int, hi: int) -> None:
        """As the writer does."""
        self.writer.block(lo, hi)

    def flush(self) -> None:
        """As the writer does."""
        self.writer.flush()

    def abandon(self) -> None:
        """As the writer does."""
        self.writer.abandon()


@dataclass(frozen=True)
class Found:
    """What a fit ends at: objectives, rows by name, shared factors by name; or the error that ended it."""

    objectives: tuple[float, ...]
    rows: Rows
    factors: dict[str, Array]
    error: str = ""


def fitted(source: Source, resolved: Resolved, place: Host) -> Found:
    """A fit of `source` at `place`, by the executor of threads, from the probe on."""
    resolved = resolve_for(source, resolved.problem, resolved)
    model, problem = resolved.model, resolved.problem
    plan = local_plan(source, resolved, Machine.of({"threads": 1}))
    with LocalExecutor(source, plan, place=place) as executor:
        try:
            probe = survey(executor.sweep, source, expected=Expected.by(model))
            rows, shared = model.start(resolved.initializer, executor.sweep, probe, problem.seed, source.dtype)
            if isinstance(model, Calibrates):
                rows, shared = model.calibrate(rows, shared, executor.sweep)
            *_, last = iterate(model, executor, problem, rows, shared)
        except NmfkitError as error:
            return Found((), {}, {}, type(error).__name__)
        ended = model.factors(executor.fetch(last.current))
        return Found(
            tuple(record.objective for record in last.history),
            {name: np.array(f) for name, f in last.rows.read(0, source.shape[0]).items()},
            ended,
        )
