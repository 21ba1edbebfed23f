"""How long a sweep will take on workers: measured on a few blocks, scaled to all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from nmfkit.check import Resolved
from nmfkit.executors.cluster import ClusterExecutor
from nmfkit.executors.machine import Machine
from nmfkit.executors.open import executing
from nmfkit.executors.plan import Plan, size_text
from nmfkit.loop import Watcher
from nmfkit.probe import Expected, survey
from nmfkit.protocols import Draws, Gathers, Source
from nmfkit.sources.head import Head

BLOCKS = 2
"""Blocks for each thread that are tried."""
SWEEPS = 3
"""Sweeps over them; the first one also compiles and warms up."""


@dataclass(frozen=True)
class Rates:
    """What a thread of a worker goes through in a second, in bytes of X: read from the store, or kept in memory.

    `overhead` are the seconds of a sweep that no shard takes: tasks, sums, the update of the shared factors.
    """

    reading: float
    kept: float
    overhead: float


@dataclass(frozen=True)
class Forecast:
    """What a sweep takes: seconds, tasks, and bytes that workers send each other or by way of the store."""

    rates: Rates
    seconds: float
    tasks: int
    statistics_bytes: int
    state_bytes: int
    rows_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "seconds_per_sweep": self.seconds,
            "overhead_seconds": self.rates.overhead,
            "bytes_per_second_and_thread_read": self.rates.reading,
            "bytes_per_second_and_thread_kept": self.rates.kept,
            "tasks_per_sweep": self.tasks,
            "statistics_moved_bytes": self.statistics_bytes,
            "shared_state_moved_bytes": self.state_bytes,
            "rows_moved_bytes": self.rows_bytes,
        }

    def lines(self) -> list[str]:
        """For people."""
        rates = self.rates
        return [
            f"  moved per sweep  statistics {size_text(self.statistics_bytes)}, shared state "
            f"{size_text(self.state_bytes)}, rows of W {size_text(self.rows_bytes)}, in {self.tasks:,} tasks",
            f"  time per sweep   about {self.seconds:.3g} s: {size_text(rates.reading)}/s a thread from the store, "
            f"{size_text(rates.kept)}/s of what is kept; {1000 * rates.overhead:.0f} ms besides",
        ]


@contextmanager
def forecasting(
    source: Source, resolved: Resolved, machine: Machine, out: Any = None, options: Mapping[str, Any] | None = None
) -> Iterator[tuple[Plan, str, Forecast | None]]:
    """The plan of a fit on the workers of `machine` to `out`, who they are, and the forecast.

    None for a model that brings all rows of a factor together, of some of which it can do nothing, or that goes through
    batches, of which there would be many.
    """
    listener = _Listener()
    with executing(source, resolved, machine, out=out, options=options, watcher=listener) as executor:
        assert isinstance(executor, ClusterExecutor)
        told = None if isinstance(resolved.model, Gathers | Draws) else forecast(executor, resolved)
        yield executor.plan, listener.workers, told


class _Listener(Watcher):
    """Keeps who the workers are."""

    workers = ""

    def crew(self, crew: Any) -> None:
        """Keep the words."""
        self.workers = str(crew)


def forecast(executor: ClusterExecutor, resolved: Resolved) -> Forecast:
    """Sweep over the first blocks of the source, as the fit would, and conclude from them on all."""
    plan, rates = executor.plan, _measured(executor, resolved)
    threads = plan.workers * plan.threads
    kept = plan.passed_bytes - plan.bytes_per_sweep
    seconds = (plan.bytes_per_sweep / rates.reading + kept / rates.kept) / threads + len(plan.groups) * rates.overhead
    width = plan.rows_bytes // 2
    return Forecast(
        rates, seconds, _tasks(plan), plan.statistics_bytes * (len(plan.shards) - 1),
        plan.workers * plan.statistics_bytes // 16 * np.dtype(executor.source.dtype).itemsize, 2 * width,
    )  # fmt: skip


def _measured(executor: ClusterExecutor, resolved: Resolved) -> Rates:
    plan = _head_plan(executor.plan)
    source = Head(executor.source, plan.bounds[-1][1])
    with executor.on(source, plan) as small:
        probe = survey(small.sweep, source, expected=Expected.of_rows(resolved.model))
        rows, shared = resolved.model.start(
            resolved.initializer, small.sweep, probe, resolved.problem.seed, source.dtype
        )
        state: Any = shared
        reading: list[float] = []
        kept: list[float] = []
        overhead: list[float] = []
        for sweep in range(2 * SWEEPS):
            if sweep == SWEEPS:
                small.plan = replace(plan, cache_bytes=plan.source_bytes)
            began = time.monotonic()
            new = small.advance(resolved.model, rows, state)
            rows, state = new.rows, new.following
            seconds = time.monotonic() - began
            slowest = max(report.seconds for report in small.reports)
            rate = sum(r.passed for r in small.reports) / max(1e-9, sum(r.seconds for r in small.reports))
            if sweep not in (0, SWEEPS):
                (kept if sweep > SWEEPS else reading).append(rate)
                overhead.append(seconds - slowest)
    return Rates(median(reading), median(kept), max(0.0, median(overhead)))


def _head_plan(plan: Plan) -> Plan:
    """The plan of a fit to the first blocks, one shard a thread, that keeps nothing in memory."""
    threads = plan.workers * plan.threads
    count = min(len(plan.bounds), BLOCKS * threads)
    edges = [round(i * count / min(threads, count)) for i in range(min(threads, count) + 1)]
    shards = tuple(range(a, b) for a, b in pairwise(edges))
    part = plan.bounds[count - 1][1] / plan.bounds[-1][1]
    return replace(
        plan, layout=replace(plan.layout, groups=1), bounds=plan.bounds[:count], shards=shards, cache_bytes=0,
        source_bytes=int(part * plan.source_bytes),
    )  # fmt: skip


def _tasks(plan: Plan) -> int:
    """Tasks of one sweep: of each group the shards, the tree of sums, the update."""
    count = 0
    for group in plan.groups:
        level = len(group)
        count += level + 1
        while plan.layout.fan_in and level > plan.layout.fan_in:
            level = -(-level // plan.layout.fan_in)
            count += level
    return count
