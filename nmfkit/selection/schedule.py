"""Many fits: side by side on threads, one after the other on all of them, or on the workers of a cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from threadpoolctl import threadpool_limits

from nmfkit import kernels
from nmfkit.executors.machine import Machine, here
from nmfkit.executors.open import spread
from nmfkit.executors.plan import MIB, source_bytes
from nmfkit.executors.resources import available_threads, free_memory
from nmfkit.loop import Watcher
from nmfkit.protocols import Source
from nmfkit.selection.job import Job, Setting, carry_out
from nmfkit.selection.store import SelectionStore

SMALL = 32 * MIB
"""Bytes of X, or of all rows of W, up to which a fit is left to one thread: more threads would wait for each other."""
COPIES = 8
"""Times the bytes of X and W that one fit may take, mask and temporaries included."""


@dataclass(frozen=True)
class Layout:
    """What decides in which order a fit adds numbers: `threads` of each fit and its `memory`, None if unbounded."""

    threads: int
    memory: int | None
    small: bool

    @classmethod
    def of(cls, source: Source, rank: int, machine: Machine) -> Layout:
        """The layout for fits of `source` up to `rank`."""
        weight = max(source_bytes(source), source.shape[0] * rank * source.dtype.itemsize)
        memory = machine.memory_bytes()
        if weight <= SMALL:
            return cls(1, memory, True)
        return cls(machine.threads or available_threads(), memory or free_memory() // 2, False)

    def side_by_side(self, source: Source, rank: int, machine: Machine) -> int:
        """How many fits may run at a time in this process, by its threads and memory."""
        if not self.small or machine.on_gpu:
            return 1
        one = COPIES * (source_bytes(source) + source.shape[0] * rank * int(source.dtype.itemsize)) + MIB
        budget = machine.memory_bytes() or free_memory() // 2
        return max(1, min(machine.threads or available_threads(), budget // one))


@contextmanager
def one_cluster(machine: Machine, watcher: Watcher) -> Iterator[Machine]:
    """`machine` with a cluster that is there for the whole block, where it asks for one."""
    if machine.is_here:
        yield machine
        return
    from nmfkit.executors.connect import connected

    with connected(machine, watcher.note) as client:
        yield machine.by(client)


def fit_all(
    setting: Setting, jobs: Sequence[Job], store: SelectionStore, layout: Layout, machine: Machine, watcher: Watcher
) -> None:
    """Do the `jobs`, each stored as it ends.

    On a cluster, fits of small data are tasks of one thread each; any other fit has all workers to itself.
    """
    if not jobs:
        return
    meter = _Meter(len(jobs), watcher)
    alone = here({**machine.options, "threads": layout.threads, "memory": layout.memory})
    if machine.is_here:
        count = layout.side_by_side(setting.source, max(job.rank for job in jobs), machine)
        _here(replace(setting, options=alone), jobs, store, count, meter)
    elif layout.small:
        watcher.stage(f"{len(jobs)} fits on workers")
        with spread(machine, out=store.path, watcher=watcher) as each:
            each(partial(_stored, replace(setting, options=alone), store.path), jobs)
    else:
        _here(replace(setting, options=machine.options), jobs, store, 1, meter)


def _stored(setting: Setting, path: Path, job: Job) -> str:
    """Do one fit on a worker; a worker that is asked twice does it once."""
    store = SelectionStore(path)
    if not store.has(job):
        store.put(carry_out(setting, job))
    return job.name


def _here(setting: Setting, jobs: Sequence[Job], store: SelectionStore, count: int, meter: _Meter) -> None:
    halt = threading.Event()

    def do(job: Job) -> None:
        store.put(carry_out(setting, job, halt.is_set))

    if count == 1:
        for job in jobs:
            do(job)
            meter.done()
        return
    with _one_thread_each(), ThreadPoolExecutor(count, "nmfkit-fit") as pool:
        futures = [pool.submit(do, job) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
                meter.done()
        except BaseException:
            halt.set()
            for future in futures:
                future.cancel()
            raise


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Fits set and reset what belongs to the process: let each find, and leave, what all of them need."""
    before = kernels.on_compile
    try:
        with threadpool_limits(1, "blas"):
            yield
    finally:
        kernels.on_compile = before


class _Meter:
    """Tells how many fits are done."""

    def __init__(self, total: int, watcher: Watcher) -> None:
        self._total, self._watcher, self._done = total, watcher, 0
        self._began = time.monotonic()
        watcher.stage(f"{total} fits")

    def done(self) -> None:
        """One more."""
        self._done += 1
        left = (time.monotonic() - self._began) / self._done * (self._total - self._done)
        self._watcher.stage(f"{self._done} of {self._total} fits, about {left:.0f} s left")
