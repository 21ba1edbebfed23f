"""How long a sweep takes on any number of workers, from what one thread and one message take.

Sums and maxima that can be read in a minute; it knows no stragglers and no other users of network and store.
"""

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from nmfkit.executors.plan import Plan, make_plan


@dataclass(frozen=True)
class Costs:
    """What is measured: `read` and `arithmetic` in bytes of X a second and thread, `stored` bytes in the store for
    each byte of X, the rest in seconds: of a `block` besides (its rows of W, out of the store and into it), of a `task`
    in client and scheduler, of a block's place in them (`listed`), of one task waiting for another (`hop`), of the way
    there and back (`trip`), of adding a byte of statistics (`add`), of the update of H (`apply`), of a blob (`blob`).
    """

    read: float
    arithmetic: float
    stored: float
    block: float
    task: float
    listed: float
    hop: float
    trip: float
    add: float
    apply: float
    blob: float


@dataclass(frozen=True)
class Cluster:
    """Workers of `threads` threads that have `cores` each; bytes a second of a worker's `network` and of the `store`
    for all together; which part of X is `cached` in the workers' memory."""

    workers: int
    threads: int
    cores: float
    network: float
    store: float
    cached: float = 0.0


@dataclass(frozen=True)
class Imagined:
    """A dense float32 matrix in chunks of 8 MiB, of which only the shape is known."""

    shape: tuple[int, int]
    uri = "imagined"
    is_sparse = resident = False
    nnz = row_names = feature_names = None
    dtype = np.dtype(np.float32)

    def bounds(self, target_bytes):
        chunk = max(1, 2**23 // (4 * self.shape[1]))
        step = max(1, target_bytes // (4 * self.shape[1] * chunk)) * chunk
        return [(lo, min(lo + step, self.shape[0])) for lo in range(0, self.shape[0], step)]


@dataclass(frozen=True)
class Parts:
    """Seconds of a sweep: all shards done (`read` and `arithmetic` of them alone, which overlap), then one after
    another the `sums`, the shared `state` to the store and back, and what client and scheduler take for `tasks`."""

    read: float
    arithmetic: float
    shards: float
    sums: float
    state: float
    tasks: float

    @property
    def seconds(self):
        return self.shards + self.sums + self.state + self.tasks


@cache
def planned(shape, rank, workers, threads) -> Plan:
    """The plan that nmfkit makes for so many workers."""
    return make_plan(
        Imagined(shape), width=rank, dtype=np.float32, elementwise=False, forms_product=True, memory=2**36,
        threads=threads, workers=workers,
    )  # fmt: skip


def sweep(costs: Costs, cluster: Cluster, plan: Plan) -> Parts:
    """The parts of one sweep of `plan`."""
    rows = plan.rows_bytes  # read and written: twice their bytes
    x, blocks = plan.source_bytes / cluster.workers, len(plan.bounds) / cluster.workers
    fresh = (1 - cluster.cached) * x
    read, arithmetic = fresh / costs.read, x / costs.arithmetic + blocks * costs.block
    through = (costs.stored * fresh + rows / cluster.workers) / min(cluster.network, cluster.store / cluster.workers)
    shards = max(read / cluster.threads, arithmetic / cluster.threads, (read + arithmetic) / cluster.cores, through)
    statistics = plan.statistics_bytes / 2  # of two halves, as the plan allows for, one is an array
    state = statistics / 2  # in float32
    return Parts(
        read=max(read / min(cluster.threads, cluster.cores), through),
        arithmetic=arithmetic / min(cluster.threads, cluster.cores),
        shards=shards,
        sums=sums(costs, cluster, plan, statistics) + costs.apply,
        state=2 * costs.blob + state / cluster.network + state / min(cluster.network, cluster.store / cluster.workers),
        tasks=costs.trip + costs.task * tasks(plan) + costs.listed * len(plan.bounds),
    )


def sums(costs, cluster, plan, statistics) -> float:
    """Seconds from the last shard to the sum of all: at each level a task waits for those it adds, most of them on
    other workers."""
    level, seconds, here = len(plan.shards), 0.0, len(plan.shards) / cluster.workers
    while level > 1:
        group = min(level, plan.layout.fan_in or level)
        seconds += costs.hop + max(0.0, group - here) * statistics / cluster.network + group * statistics * costs.add
        level, here = math.ceil(level / group), 1
    return seconds


def tasks(plan) -> int:
    """Shards, the tree of sums, the update."""
    count = level = len(plan.shards)
    while plan.layout.fan_in and level > plan.layout.fan_in:
        level = math.ceil(level / plan.layout.fan_in)
        count += level
    return count + 1


def limit(costs, cluster, shape, rank, most=2**14) -> int | None:
    """The number of workers, of powers of 2, from which on another doubling gains less than a third; None: not up to
    `most`."""
    workers, before = 1, math.inf
    while workers <= most:
        at = replace(cluster, workers=workers)
        now = sweep(costs, at, planned(shape, rank, workers, cluster.threads)).seconds
        if before / now < 4 / 3:
            return workers // 2
        workers, before = 2 * workers, now
    return None
