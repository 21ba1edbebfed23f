"""Sweeps that `scale.py` times: of the matrix here and on workers, of each half alone, of blocks that cost nothing."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import zarr
from distributed import Client, LocalCluster
from threadpoolctl import threadpool_limits
from workload import Empty, compute_alone, nothing, read_alone

from nmfkit.check import resolve
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.machine import Machine
from nmfkit.executors.open import executing, local_plan
from nmfkit.executors.resources import available_threads
from nmfkit.loop import Watcher
from nmfkit.probe import survey
from nmfkit.problem import Problem

LOSSES = {"frobenius": "hals", "kl": "mu"}
RANK = 20


@dataclass(frozen=True)
class Place:
    """Where sweeps run: `threads` of this process, or of each of `workers`."""

    workers: int
    threads: int

    def __str__(self):
        return f"{self.workers} × {self.threads}" if self.workers else f"here, {self.threads}"

    @property
    def in_all(self):
        return max(1, self.workers) * self.threads


@contextmanager
def crew(place) -> Iterator[Client | None]:
    """The workers of a place, started and stopped; None for threads of this process."""
    if not place.workers:
        yield None
        return
    with (
        LocalCluster(
            n_workers=place.workers, threads_per_worker=place.threads, dashboard_address=None, silence_logs="CRITICAL"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def problem(loss, rank=RANK):
    return resolve(Problem(loss=loss, rule=LOSSES[loss], ranks=(rank,), tol=0))


@contextmanager
def executor(place, client, source, resolved, folder, **changes):
    """An executor of the place that keeps no block of X, so that every sweep reads all; `changes` are of its plan."""
    changes = {"cache_bytes": 0, **changes}
    if client is None:
        plan = replace(local_plan(source, resolved, Machine(threads=place.threads)), **changes)
        with LocalExecutor(source, plan, scratch=folder) as found:
            yield found
        return
    machine = Machine(scheduler=client)
    with (
        executing(source, resolved, machine, out=folder / "run", watcher=Watcher()) as first,
        first.on(source, replace(first.plan, **changes)) as found,
    ):
        yield found


class Others:
    """The share of the processors that other programs take, from one moment to the next; 0 where nobody tells."""

    def __init__(self):
        self._before = self._now()

    def share(self) -> float:
        """Since the last call, or since this object was made."""
        before, self._before = self._before, self._now()
        seconds, busy, own = (b - a for a, b in zip(before, self._before, strict=True))
        return max(0.0, busy - own) / seconds / available_threads() if seconds > 0 else 0.0

    def _now(self) -> tuple[float, float, float]:
        """Seconds on the clock, of all programs, of this one and of those that it has started."""
        times = psutil.cpu_times()
        here = psutil.Process()
        own = [p.cpu_times() for p in (here, *here.children(recursive=True))]
        busy = sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
        return time.perf_counter(), busy, sum(t.user + t.system for t in own)


class Fit:
    """A fit between two sweeps, begun at a random start."""

    def __init__(self, executor, resolved, probe=None):
        self.executor, self.model = executor, resolved.model
        probe = probe or survey(executor.sweep, executor.source)
        self.probe = probe
        self.rows, self.state = self.model.start(resolved.initializer, executor.sweep, probe, 0, executor.source.dtype)

    def sweep(self) -> float:
        """Seconds of one sweep."""
        began = time.perf_counter()
        new = self.executor.advance(self.model, self.rows, self.state)
        self.rows, self.state = new.rows, new.following
        return time.perf_counter() - began

    def sweeps(self, count) -> list[float]:
        """Seconds of each of `count` sweeps after one that warms up."""
        self.sweep()
        return [self.sweep() for _ in range(count)]


# --- the two halves of a sweep alone --------------------------------------------------------------------------


def rate(place, client, function, shares, *arguments) -> float:
    """Bytes a second of `function` over the `shares` of blocks, one for each thread of the place, all at once."""
    if client is None:
        with (
            ThreadPoolExecutor(len(shares)) as pool,
            threadpool_limits(1, "blas"),
            zarr.config.set({"threading.max_workers": place.threads}),
        ):
            found = list(pool.map(lambda share: function(arguments[0], share, *arguments[1:]), shares))
    else:
        workers = [address for address in client.nthreads() for _ in range(place.threads)]
        futures = [
            client.submit(function, arguments[0], share, *arguments[1:], workers=[address], pure=False)
            for share, address in zip(shares, workers, strict=True)
        ]
        found = client.gather(futures)
    return sum(size for size, _ in found) / max(seconds for _, seconds in found)


def shared_out(bounds, count) -> list[list[tuple[int, int]]]:
    """The blocks in `count` runs of equal length."""
    each = max(1, len(bounds) // count)
    return [list(bounds[i * each : (i + 1) * each]) for i in range(count)]


def halves(place, client, path, fit, repeats, kept=16) -> dict[str, float]:
    """Bytes of X a second that are only read, and only computed on, by as many threads as `place` has."""
    plan, state = fit.executor.plan, fit.executor.fetch(fit.state)
    some = shared_out(plan.bounds[: kept * place.in_all], place.in_all)
    rows = (fit.rows.read(0, some[-1][-1][1]),)
    reads = [rate(place, client, read_alone, shared_out(plan.bounds, place.in_all), path) for _ in range(repeats)]
    arithmetic = [
        rate(place, client, compute_alone, some, path, fit.model.local, rows, state, plan.tile_rows)
        for _ in range(repeats)
    ]
    return {"read": median(reads), "arithmetic": median(arithmetic)}


# --- sweeps of blocks that cost nothing ------------------------------------------------------------------------


def overheads(client, place, folder, counts, sweeps) -> list[dict[str, Any]]:
    """Seconds of a sweep over blocks of one entry: with a step that does nothing (`besides`: what of it is no
    worker's work), and of the model at rank 1."""
    found, resolved = [], problem("frobenius", 1)
    for count in counts:
        with executor(place, client, Empty(count, 1, 1), resolved, folder) as at:
            idle, besides = empty_sweeps(at, sweeps)
            fit = Fit(at, resolved)
            found.append({"blocks": count, "nothing": idle, "besides": besides, "rank 1": median(fit.sweeps(sweeps))})
    return found


def few_large(client, place, folder, sweeps) -> float:
    """Seconds of a sweep over 8 blocks of 2,000 × 2,000 that nobody touches."""
    with executor(place, client, Empty(8, 2000, 2000), problem("frobenius"), folder) as at:
        return empty_sweeps(at, sweeps)[0]


def by_shards(client, place, folder, counts, sweeps) -> dict[int, float]:
    """Seconds of a sweep in which each of so many shards does nothing; sums go through a tree."""
    found, resolved = {}, problem("frobenius", 1)
    for count in counts:
        shards = tuple(range(i, i + 1) for i in range(count))
        with executor(place, client, Empty(count, 1, 1), resolved, folder, shards=shards) as at:
            at.plan = replace(at.plan, layout=replace(at.plan.layout, fan_in=8))
            found[count] = empty_sweeps(at, sweeps)[0]
    return found


def listed(client, place, folder, counts, sweeps) -> float:
    """Seconds that one more block takes client and scheduler in a sweep, whose workers do nothing with it."""
    few, many = counts
    besides = []
    for count in counts:
        with executor(place, client, Empty(count, 1, 1), problem("frobenius", 1), folder) as at:
            besides.append(empty_sweeps(at, sweeps, data=False)[1])
    return max(0.0, (besides[1] - besides[0]) / (many - few))


def empty_sweeps(executor, count, data=True) -> tuple[float, float]:
    """Seconds of a sweep that does nothing, and of those the ones outside of the slowest worker's shards."""
    seconds, besides = [], []
    for _ in range(count + 2):
        began = time.perf_counter()
        executor.sweep(nothing, None, {}, data=data)
        seconds.append(time.perf_counter() - began)
        besides.append(seconds[-1] - slowest(executor))
    return median(seconds[2:]), median(besides[2:])


def slowest(executor) -> float:
    """Seconds that the worker with the most to do spent on the shards of the last sweep."""
    spent: dict[str, float] = {}
    for report in executor.reports:
        spent[report.worker] = spent.get(report.worker, 0.0) + report.seconds
    return max(spent.values()) / executor.plan.threads


# --- what is moved ---------------------------------------------------------------------------------------------


def moved(client, fit, folder, sweeps) -> dict[str, float]:
    """Bytes that a sweep sends from worker to worker, and writes into the store as rows and as states."""
    fit.sweep()
    found: list[tuple[int, int, int]] = []
    for _ in range(sweeps):
        sent, files = _sent(client), _files(folder)
        fit.sweep()
        new = {name: size for name, size in _files(folder).items() if name not in files}
        state = sum(size for name, size in new.items() if "/state/" in name)
        found.append((_sent(client) - sent, sum(new.values()) - state, state))
    sent, rows, states = (median(values) for values in zip(*found, strict=True))
    return {"sent": sent, "rows": rows, "state": states}


def _sent(client):
    totals = client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total)
    return sum(totals.values())


def _files(folder):
    return {str(f): f.stat().st_size for f in Path(folder).rglob("work/**/*") if f.is_file()}
