"""What a dask worker does: the tasks of a sweep, and what it keeps between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import cloudpickle
import psutil
import zarr
from distributed import Worker, WorkerPlugin, get_worker
from threadpoolctl import threadpool_limits
from tornado.ioloop import PeriodicCallback

from nmfkit.blocks import Block
from nmfkit.errors import ClusterError, SourceError, StoreError
from nmfkit.executors.allocator import keep_freed_memory
from nmfkit.executors.blobs import Blobs
from nmfkit.executors.block_rows import BlockWriter, blob_name
from nmfkit.executors.cache import BlockCache
from nmfkit.executors.device.budget import READERS, DevicePlan
from nmfkit.executors.device.seat import Seat
from nmfkit.executors.known import Known
from nmfkit.executors.passport import Passport
from nmfkit.executors.place import Place
from nmfkit.executors.shard import Bounds, ShardRun, combine, without_data
from nmfkit.executors.telling import Telling
from nmfkit.loop import concluded
from nmfkit.protocols import RowStore, Shared, Source, Stats
from nmfkit.stats import widen

PLUGIN = "nmfkit"
INLINE = 2**16
"""Bytes of a step or a shared state that goes along with the tasks; a larger one is a blob."""
CACHE_SHARE = 0.4
"""Part of a worker's memory that the blocks of all fits together may take."""
IDLE = 600.0
"""Seconds after which the blocks of a fit that has gone without a word are forgotten."""
PATIENCE = (0.1, 0.5, 2.0)
"""Seconds to wait before a read or a write that failed is tried again."""
PARCELS = 8
"""Objects (source, steps, model) of one fit that a worker keeps unpickled."""
STATES = 2
"""Shared states of one fit that a worker keeps: the present one and the following."""

T = TypeVar("T")


class Shelf(WorkerPlugin):
    """What a worker keeps between tasks: blocks of X, open sources, shared states. Linear algebra gets one thread."""

    name = PLUGIN
    idempotent = True

    def setup(self, worker: Worker) -> None:
        """Take the worker's memory limit for the measure of the cache."""
        limit = memory_limit(worker) or psutil.virtual_memory().total
        self.cache = BlockCache(int(CACHE_SHARE * limit))
        # At least a few: a device takes blocks faster than one thread reads them.
        self.readers = ThreadPoolExecutor(max(READERS, worker.state.nthreads), "nmfkit-read")
        self._known = Known()
        self._seat = Seat()
        self._blas = threadpool_limits(1, "blas")
        keep_freed_memory()
        # Threads of the worker decode side by side already; a pool for each of them would only be in the way.
        zarr.config.set({"threading.max_workers": max(1, worker.state.nthreads)})
        self._expiry = PeriodicCallback(lambda: self.cache.drop_idle(IDLE), 60_000)
        self._expiry.start()

    def teardown(self, worker: Worker) -> None:
        """Let go of everything."""
        del worker
        self._expiry.stop()
        self.readers.shutdown(wait=False, cancel_futures=True)
        self.cache.drop()
        self._blas.restore_original_limits()

    def place(self, run: str, plan: DevicePlan | None) -> AbstractContextManager[Place]:
        """Where a task of a fit computes: in this process's memory, or on its device, one task at a time."""
        return self._seat.place(run, plan)

    def known(self, kind: str, name: str, most: int, make: Callable[[], T]) -> T:
        """The object of that name, made when it is first asked for; the last `most` of a kind are kept."""
        return self._known.get(kind, name, most, make)

    def forget(self, run: str) -> None:
        """Drop what a fit has left here."""
        self.cache.drop(run)
        self._known.forget(run)
        self._seat.forget(run)


@dataclass(frozen=True)
class Parcel:
    """A pickled object of a fit under a name, so that a worker unpickles it once; a large one lies in `blobs`."""

    run: str
    name: str
    data: bytes | None
    blobs: Blobs | None = None

    def open(self) -> Any:
        """The object; raises `ClusterError` where the worker lacks what it is made of."""
        return shelf().known(f"parcels {self.run}", self.name, PARCELS, self._load)

    def _load(self) -> Any:
        data = self.data
        if data is None:
            assert self.blobs is not None
            data = patiently(lambda: self.blobs.get(self.name))  # type: ignore[union-attr]
        try:
            return cloudpickle.loads(data)
        except (ImportError, AttributeError) as error:
            raise ClusterError(
                f"worker {here()} cannot load the fit's parts: {type(error).__name__}: {error}"
            ) from error


@dataclass(frozen=True)
class StateName:
    """A shared state of a fit in a blob."""

    run: str
    blobs: Blobs
    name: str

    def open(self) -> Any:
        """The state, read once by a worker."""
        return self._kept(self.load)

    def write(self, state: Any) -> None:
        """Write the state, and keep it here for the next sweep."""
        self.save(state)
        self._kept(lambda: state)

    def load(self) -> Any:
        """What the blob holds; it is not kept here."""
        return patiently(lambda: self.blobs.get_state(self.name))

    def save(self, state: Any) -> None:
        """Write the blob, and keep nothing here."""
        patiently(lambda: self.blobs.put_state(self.name, state))

    def _kept(self, make: Callable[[], Any]) -> Any:
        return shelf().known(f"states {self.run}", self.name, STATES, make)


class Opens(Protocol):
    """A shared state, wherever it is."""

    def open(self) -> Shared:
        """The state."""
        ...


@dataclass(frozen=True)
class Errand:
    """What the shards of one sweep have in common; `sweep` counts all those of the executor `run`."""

    run: str
    sweep: int
    passport: Passport
    source: Parcel
    step: Parcel
    shared: Opens
    blobs: Blobs | None
    tile_rows: int | None
    data: bool
    cache_bytes: int
    discard: tuple[str, ...]
    device: DevicePlan | None = None


class ShardReport(NamedTuple):
    """How a shard went: bytes of X that it went through and those of them that it had to read, seconds, where."""

    shard: int
    worker: str
    seconds: float
    passed: int
    read: int


class Partial(NamedTuple):
    """The statistics of some shards, the names of the factors whose rows they wrote, and their reports."""

    stats: Stats
    names: tuple[str, ...]
    reports: tuple[ShardReport, ...]


class Outcome(NamedTuple):
    """The end of a sweep of a model: its objective, names of factors, reports."""

    objective: float
    accepted: bool
    names: tuple[str, ...]
    reports: tuple[ShardReport, ...]


def run_shard(errand: Errand, index: int, blocks: Bounds, rows: RowStore | None) -> Partial:
    """Run one shard of a sweep, and write its rows; running it again repeats the same bytes."""
    admitted(errand.passport)
    desk, began = shelf(), time.monotonic()
    source: Source = errand.source.open()
    writer = BlockWriter(errand.blobs, str(errand.sweep))
    reading = Reading(errand, source, desk.cache)
    count = sum(hi - lo for _, lo, hi in blocks)
    telling = Telling(errand.run, errand.sweep, index, count, silent=not errand.data)
    with desk.place(errand.run, errand.device) as place:
        there, to = place.rows(rows), place.writer(_Patient(writer))
        run = ShardRun(
            source, place.enter(errand.step.open()), there, place.enter(errand.shared.open()), to, errand.tile_rows,
            proceeds=_wanted(), done=telling.block,
        )  # fmt: skip
        try:
            with closing(_blocks(errand, place, blocks, reading, there, telling)) as given:
                stats = run(given)
            to.flush()
        finally:
            to.abandon()
        stats = place.leave(stats)
    for generation in errand.discard:
        for _, lo, _ in blocks:
            assert errand.blobs is not None
            errand.blobs.delete(blob_name(generation, lo))
    report = ShardReport(index, here(), time.monotonic() - began, telling.bytes, reading.bytes)
    return Partial(stats, writer.names, (report,))


def _blocks(
    errand: Errand, place: Place, bounds: Bounds, reading: Reading, rows: Any, telling: Telling
) -> Generator[tuple[int, int, Block], None, None]:
    if errand.data:
        yield from telling.through(place.blocks(bounds, reading, rows, shelf().readers))
        return
    for lo, hi, empty in without_data(bounds):
        yield lo, hi, place.enter(empty)


def merge(*partials: Partial) -> Partial:
    """The sum of partial sums in their order."""
    first, *others = partials
    # A copy to add to: what a task was given may be given to another one, should this one run again.
    stats = combine(iter([widen(first.stats), *(partial.stats for partial in others)]))
    reports = tuple(report for partial in partials for report in partial.reports)
    return Partial(stats, max((partial.names for partial in partials), key=len), reports)


def conclude(
    errand: Errand,
    model: Parcel,
    before: Parcel | StateName,
    current: StateName | None,
    following: StateName,
    *partials: Partial,
) -> Outcome:
    """The objective of a sweep of `model` that began with the state `before`, and the next one, written as `following`.

    Passes may have changed the state of `errand` in between: it is written as `current`, where that is asked for.
    """
    total = merge(*partials)
    shared: Shared = errand.shared.open()
    with shelf().place(errand.run, errand.device) as place:
        end = concluded(model.open(), *place.enter((before.open(), total.stats, shared)))
        next_state = place.leave(end.following)
    if current is not None:
        current.write(shared)
    following.write(next_state)
    return Outcome(end.objective, end.accepted, total.names, total.reports)


def run_batch(passport: Passport, function: Parcel, items: list[Any]) -> list[Any]:
    """`function` of each item."""
    admitted(passport)
    call, wanted, found = function.open(), _wanted(), []
    for item in items:
        if not wanted():
            raise ClusterError("nobody waits for this task any more")
        found.append(call(item))
    return found


def admitted(passport: Passport) -> None:
    """Raise `ClusterError` if this worker, which may have come later, does not run the same software."""
    faults = shelf().known("passports", str(passport.versions), PARCELS, passport.faults)
    if faults:
        raise ClusterError(f"worker {here()} does not fit: {'; '.join(faults)}")


def shelf() -> Shelf:
    """What this worker keeps."""
    plugin = get_worker().plugins.get(PLUGIN)
    if not isinstance(plugin, Shelf):
        raise ClusterError(f"worker {here()} could not be equipped; its log says why")
    return plugin


def here() -> str:
    """The address of this worker."""
    address: str = get_worker().address
    return address


def memory_limit(worker: Worker) -> int | None:
    """Bytes that dask lets a worker use, None without a limit."""
    limit: int | None = worker.memory_manager.memory_limit
    return limit or None


def patiently(action: Callable[[], T]) -> T:
    """What `action` returns; a read or write that fails is tried again: stores far away fail now and then."""
    for pause in PATIENCE:
        try:
            return action()
        except (SourceError, StoreError, OSError):
            time.sleep(pause)
    return action()


class _Patient:
    """A writer that tries again."""

    def __init__(self, writer: BlockWriter) -> None:
        self._writer = writer
        self.write = writer.write

    def block(self, lo: int, hi: int) -> None:
        patiently(lambda: self._writer.block(lo, hi))


class Reading:
    """Reads blocks for a task, out of the cache where they are in it."""

    def __init__(self, errand: Errand, source: Source, cache: BlockCache) -> None:
        self._errand, self._source, self._cache = errand, source, cache
        self.bytes = 0

    def cached(self, index: int) -> Block | None:
        """The block, if it is in the cache."""
        return self._cache.get(self._errand.run, index, self._errand.sweep)

    def read(self, index: int, lo: int, hi: int) -> Block:
        """The block, from the cache or read into it."""
        kept = self.cached(index)
        if kept is not None:
            return kept
        errand, block = self._errand, self.fresh(index, lo, hi)
        self._cache.offer(errand.run, index, block, errand.sweep, errand.cache_bytes)
        return block

    def fresh(self, index: int, lo: int, hi: int) -> Block:
        """The block, kept nowhere."""
        del index
        block = patiently(lambda: self._source.read(lo, hi))
        self.bytes += block.nbytes
        return block


def _wanted() -> Callable[[], bool]:
    """Whether the present task is still to be done: its client may have gone, or somebody else may do it."""
    worker = get_worker()
    key = worker.get_current_task()

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        if task is None or task.state not in ("executing", "long-running"):
            raise ClusterError("nobody waits for this task any more")
        return True

    return wanted
