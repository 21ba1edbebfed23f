"""From the options of a caller to a dask client."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from distributed import Client, Security
from distributed.comm.registry import get_backend

from nmfkit.errors import ClusterError, UsageError
from nmfkit.executors.local_workers import local_workers
from nmfkit.executors.machine import Machine
from nmfkit.executors.waiting import NO_WORKERS, address

SCHEDULER_FILE = 30.0
"""Seconds to wait for a scheduler's file."""
SOON = 3.0
"""Seconds to wait for workers before it is said that there are none yet."""
LOGGERS = ("distributed", "distributed.client", "distributed.comm", "distributed.core", "tornado.application")
"""Those of dask that print to the terminal what an error of ours says better."""


@contextmanager
def connected(machine: Machine, tell: Callable[[str], None]) -> Iterator[Client]:
    """A client of the cluster that `machine` names or starts, with at least one worker, for as long as the block runs.

    `tell` hears what keeps the user waiting. Raises `ClusterError` where no scheduler answers or no worker comes.
    """
    with _place(machine) as place, _client(place) as client, _reported(client, machine):
        _await_workers(client, machine.workers or 1, tell)
        yield client


@contextmanager
def _place(machine: Machine) -> Iterator[Any]:
    """What a client can be made of: an object of dask, an address, the contents of a scheduler file."""
    if machine.workers:
        threads, memory = machine.threads_of_worker(), machine.memory_bytes()
        with local_workers(machine.workers, threads, memory, gpus=machine.on_gpu) as cluster:
            yield cluster
    elif machine.scheduler_file is not None:
        yield {"scheduler_file": os.fspath(machine.scheduler_file)}
    else:
        yield machine.address


@contextmanager
def _client(place: Any) -> Iterator[Client]:
    if isinstance(place, Client):
        if place.asynchronous:
            raise UsageError("the client is asynchronous; pass one that is not, or the scheduler's address")
        yield place
        return
    given = place if isinstance(place, dict) else {"address": place}
    if "scheduler_file" in given:
        _await_file(Path(given["scheduler_file"]))
    elif isinstance(place, str):
        _refuse_wrong_protocol(place)
    with _quiet():
        try:
            client = Client(**given, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            named = place["scheduler_file"] if isinstance(place, dict) else place
            raise ClusterError(f"no dask scheduler answers at {named}: {error or type(error).__name__}") from error
        try:
            yield client
        finally:
            client.close()


def _refuse_wrong_protocol(place: str) -> None:
    """Raise `ClusterError` for an address that dask's configuration does not allow; a client would only hang."""
    protocol = place.partition("://")[0] if "://" in place else "tcp"
    try:
        get_backend(protocol)
    except ValueError as error:
        raise ClusterError(
            f"{place}: dask knows no protocol {protocol!r}; addresses look like tcp://host:8786"
        ) from error
    given = Security().get_connection_args("client")
    if protocol == "tls" and given.get("ssl_context") is None:
        raise ClusterError(
            f"{place} is encrypted, and dask's configuration names no certificates: set distributed.comm.tls.ca-file, "
            "…client.cert and …client.key, or pass a Client made with a Security object"
        )
    if protocol != "tls" and given.get("require_encryption"):
        raise ClusterError(
            f"{place} is not encrypted, and dask's configuration requires it (distributed.comm.require-encryption)"
        )


def _await_file(path: Path) -> None:
    """Schedulers of batch jobs may start a little later than their clients; dask itself would wait for ever."""
    deadline = time.monotonic() + SCHEDULER_FILE
    while not path.exists():
        if time.monotonic() > deadline:
            raise ClusterError(f"the scheduler file {path} has not appeared within {SCHEDULER_FILE:.0f} s")
        time.sleep(0.1)


def _await_workers(client: Client, count: int, tell: Callable[[str], None]) -> None:
    try:
        client.wait_for_workers(count, timeout=SOON)
        return
    except TimeoutError:
        tell(f"no worker at {address(client)} yet; waiting for {NO_WORKERS:.0f} s at most")
    try:
        client.wait_for_workers(count, timeout=NO_WORKERS)
    except TimeoutError as error:
        raise ClusterError(
            f"no worker has come to {address(client)} for {NO_WORKERS:.0f} s; start some: dask worker {address(client)}"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep dask's log of a lost connection, pages of it, off the terminal."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def _reported(client: Client, machine: Machine) -> Iterator[None]:
    if machine.performance_report is None:
        yield
        return
    if not find_spec("bokeh"):
        raise UsageError("a performance report is drawn by bokeh, which is missing: pip install 'nmfkit[dashboard]'")
    from distributed import performance_report

    with client.as_current(), performance_report(filename=os.fspath(machine.performance_report)):
        yield
