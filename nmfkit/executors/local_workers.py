"""Worker processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
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


SETTINGS = {
    # A worker that dask stops because it uses too much is replaced, and its work done again: that must come to an end.
    "distributed.scheduler.allowed-failures": 3,
    # One that dies again while it is away for that is not given up.
    "distributed.deploy.lost-worker-timeout": "1 hour",
}
"""Dask's configuration for as long as the workers live."""


@contextmanager
def local_workers(count: int, threads: int, memory: int | None, *, gpus: bool = False) -> Iterator[LocalCluster]:
    """A cluster of `count` processes with `threads` and at most `memory` bytes each (None: their part of all).

    With `gpus`, each has a GPU of its own, and dask-cuda starts them where it is installed. Raises `UsageError` in a
    process that is only being started by such a call itself.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UsageError(GUARD)
    with _environment_restored(), dask.config.set(SETTINGS):
        held = _hold_interrupts()
        try:
            cluster = _started(count, threads, memory, gpus)
        except BaseException:
            _let_interrupts(held)
            raise
        try:
            _let_interrupts(held)
            yield cluster
        finally:
            cluster.close()


def _started(count: int, threads: int, memory: int | None, gpus: bool) -> LocalCluster:
    kind, preload = _kind(gpus), ["nmfkit.executors.deaf"]
    if gpus and kind is LocalCluster:
        preload.append("nmfkit.executors.device.one_each")
    try:
        return kind(
            n_workers=count,
            threads_per_worker=threads,
            processes=True,
            memory_limit=memory if memory is not None else "auto",
            dashboard_address=":0",
            silence_logs="CRITICAL",
            preload=preload,
        )
    except RuntimeError as error:
        raise ClusterError(f"the worker processes could not be started: {error}; {GUARD}") from error


def _kind(gpus: bool) -> type[LocalCluster]:
    """Dask-cuda's cluster binds workers to the processors that are next to their GPU, too."""
    if not gpus or not find_spec("dask_cuda"):
        return LocalCluster
    found: type[LocalCluster] = import_module("dask_cuda").LocalCUDACluster
    return found


def _hold_interrupts() -> set[signal.Signals] | None:
    """Let Ctrl-C wait while dask starts, which it would leave half done."""
    if not hasattr(signal, "pthread_sigmask"):
        return None
    return {signal.Signals(s) for s in signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})}


def _let_interrupts(before: set[signal.Signals] | None) -> None:
    if before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment_restored() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
