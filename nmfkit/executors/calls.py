"""Independent calls on the workers of a cluster."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import cloudpickle
from distributed import Client

from nmfkit.executors.passport import Passport
from nmfkit.executors.waiting import cancel, live_workers, settled
from nmfkit.executors.worker import Parcel, run_batch

RETRIES = 1
"""How often a task that raised an error is run again; those that a lost worker took along are run again in any case."""
BATCHES = 4
"""Tasks for each thread that independent calls are dealt into."""


def each_on(client: Client, passport: Passport, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """`function` of each item on the workers of `client`, in their order; as few tasks as keep all threads busy."""
    if not items:
        return []
    # Under a name of its own: one that opened a store in an earlier call may not know that another is there now.
    parcel = Parcel("calls", uuid.uuid4().hex, cloudpickle.dumps(function))
    tasks = min(len(items), BATCHES * sum(live_workers(client).values()))
    edges = [len(items) * i // tasks for i in range(tasks + 1)]
    futures = [
        client.submit(
            run_batch, passport, parcel, list(items[a:b]), key=f"each-{uuid.uuid4().hex}", pure=False, retries=RETRIES
        )
        for a, b in pairwise(edges)
    ]
    try:
        return [result for future in futures for result in settled(client, future)]
    except BaseException:
        cancel(client, futures)
        raise
