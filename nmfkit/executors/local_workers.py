"""Worker processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import dask
from distributed import LocalCluster

from nmfkit.errors import ClusterError, UsageError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What dask sets for its workers, and leaves behind in the environment of the process that starts them."""
GUARD = (
    'worker processes import the script that starts them: put its work under if __name__ == "__main__":, so that '
    "they do not do it, too"
)


@contextmanager
def local_workers(count: int, threads: int, memory: int | None) -> Iterator[LocalCluster]:
    """A cluster of `count` processes with `threads` and at most `memory` bytes each (None: their part of all).

    Raises `UsageError` in a process that is only being started by such a call itself.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UsageError(GUARD)
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    try:
        cluster = _started(count, threads, memory)
        try:
            yield cluster
        finally:
            cluster.close()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _started(count: int, threads: int, memory: int | None) -> LocalCluster:
    # A worker that dask stops because it uses too much is replaced, and its work done again: that must come to an end.
    with dask.config.set({"distributed.scheduler.allowed-failures": 3}):
        try:
            return LocalCluster(
                n_workers=count,
                threads_per_worker=threads,
                processes=True,
                memory_limit=memory if memory is not None else "auto",
                dashboard_address=":0" if find_spec("bokeh") else None,
                silence_logs="CRITICAL",
                preload=["nmfkit.executors.deaf"],
            )
        except RuntimeError as error:
            raise ClusterError(f"the worker processes could not be started: {error}; {GUARD}") from error
