"""Waiting for dask: for a task's result, however long it takes, and for workers to come."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from typing import Any

from distributed import Client, Future, KilledWorker

from nmfkit.errors import ClusterError
from nmfkit.executors.plan import size_text

NO_WORKERS = 300.0
"""Seconds without any worker after which a fit gives up."""
POLL = 1.0
"""Seconds between two looks at the cluster while a sweep runs."""


def live_workers(client: Client) -> dict[str, int]:
    """Threads of every worker by address; waits for one to come, `NO_WORKERS` seconds at most."""
    deadline = time.monotonic() + NO_WORKERS
    while True:
        try:
            threads: dict[str, int] = dict(client.nthreads())
        except (OSError, TimeoutError, AttributeError) as error:
            raise _lost(client) from error
        if threads:
            return threads
        if time.monotonic() > deadline:
            raise ClusterError(f"no worker has come to {address(client)} for {NO_WORKERS:.0f} s; start some and go on")
        time.sleep(POLL)


class Stranded(Exception):
    """Tasks wait for workers that are gone for good."""


def settled(client: Client, future: Future[Any], placed: Sequence[Future[Any]] = ()) -> Any:
    """The result of a task, however long it takes; raises its error, or `ClusterError` for one of the cluster.

    Raises `Stranded` if one of the tasks `placed` on certain workers will never be run.
    """
    # Never a result with a timeout: dask would cut the transfer off, and fail when it ends just then.
    ended = threading.Event()
    future.add_done_callback(lambda _: ended.set())
    while not ended.wait(POLL):
        live_workers(client)
        _refuse_stranded(client, placed)
    try:
        return future.result()
    except KilledWorker as error:
        raise _killed(client, error) from None
    except (CancelledError, OSError) as error:
        if client.status != "running" or isinstance(error, CancelledError):
            raise _lost(client) from error
        raise


def _refuse_stranded(client: Client, placed: Sequence[Future[Any]]) -> None:
    """Raise `Stranded` if a task became homeless while there was no worker: dask never gives it to those that came."""
    scheduler: Any = client.scheduler
    try:
        states = client.sync(scheduler.get_task_status, keys=[future.key for future in placed])
    except (OSError, TimeoutError) as error:
        raise _lost(client) from error
    if "no-worker" in states.values():
        raise Stranded


def cancel(client: Client, futures: list[Future[Any]]) -> None:
    """End tasks, if there is still somebody to tell."""
    if client.status == "running":
        try:
            client.cancel(futures, force=True)
        except (OSError, TimeoutError, CancelledError):
            return


def address(client: Client) -> str:
    """Where the scheduler is, for messages."""
    return str(client.scheduler.address) if client.scheduler is not None else "the scheduler"


def _lost(client: Client) -> ClusterError:
    return ClusterError(
        f"the connection to the scheduler at {address(client)} is lost, or it has dropped the fit's tasks"
    )


def _killed(client: Client, error: KilledWorker) -> ClusterError:
    last = error.last_worker
    limit = f" of {size_text(last.memory_limit)}" if getattr(last, "memory_limit", None) else ""
    return ClusterError(
        f"{error.allowed_failures + 1} workers of {address(client)} died at one and the same task, the last one at "
        f"{last.address}: most likely each ran out of its memory{limit}; give workers more, or bound the fit with "
        "--memory"
    )
