"""From the options of a caller to a dask client, and whether the workers behind it can do the work."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import cloudpickle
import dask
from distributed import Client, LocalCluster

from nmfkit.errors import ClusterError, NmfkitError, UsageError
from nmfkit.executors.blobs import Blobs
from nmfkit.executors.cluster import NO_WORKERS, address
from nmfkit.executors.machine import Machine
from nmfkit.executors.passport import Passport
from nmfkit.executors.worker import PLUGIN, Shelf
from nmfkit.protocols import Source

SCHEDULER_FILE = 30.0
"""Seconds to wait for a scheduler's file."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What dask sets for its workers, and leaves behind in the environment of the process that starts them."""


@contextmanager
def connected(machine: Machine) -> Iterator[Client]:
    """A client of the cluster that `machine` names or starts, with at least one worker, for as long as the block runs.

    Raises `ClusterError` where no scheduler answers or no worker comes.
    """
    with _cluster(machine) as place, _client(place) as client, _reported(client, machine):
        try:
            client.wait_for_workers(machine.workers or 1, timeout=NO_WORKERS)
        except TimeoutError as error:
            raise ClusterError(
                f"no worker has come to {address(client)} for {NO_WORKERS:.0f} s; start some: dask worker "
                f"{address(client)}"
            ) from error
        yield client


@contextmanager
def _cluster(machine: Machine) -> Iterator[Any]:
    """What a client can be made of: an object of dask, an address, the contents of a scheduler file."""
    if not machine.workers:
        place = machine.address
        yield {"scheduler_file": str(place)} if machine.scheduler_file is not None else place
        return
    limit = machine.memory_bytes()
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    # A worker that dask stops because it uses too much is replaced, and its work done again: that must come to an end.
    with dask.config.set({"distributed.scheduler.allowed-failures": 3}):
        cluster = LocalCluster(
            n_workers=machine.workers,
            threads_per_worker=machine.threads_of_worker(),
            processes=True,
            memory_limit=limit if limit is not None else "auto",
            dashboard_address=":0" if find_spec("bokeh") else None,
            silence_logs="CRITICAL",
        )
    try:
        yield cluster
    finally:
        cluster.close()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


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
    try:
        client = Client(**given, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        named = place["scheduler_file"] if isinstance(place, dict) else place
        raise ClusterError(f"no dask scheduler answers at {named}: {error or type(error).__name__}") from error
    try:
        yield client
    finally:
        client.close()


def _await_file(path: Path) -> None:
    """Schedulers of batch jobs may start a little later than their clients; dask itself would wait for ever."""
    deadline = time.monotonic() + SCHEDULER_FILE
    while not path.exists():
        if time.monotonic() > deadline:
            raise ClusterError(f"the scheduler file {path} has not appeared within {SCHEDULER_FILE:.0f} s")
        time.sleep(0.1)


@contextmanager
def _reported(client: Client, machine: Machine) -> Iterator[None]:
    if machine.performance_report is None:
        yield
        return
    if not find_spec("bokeh"):
        raise UsageError(
            "a performance report is drawn by bokeh, which is not installed: pip install 'nmfkit[dashboard]'"
        )
    from distributed import performance_report

    with client.as_current(), performance_report(filename=os.fspath(machine.performance_report)):
        yield


@dataclass(frozen=True)
class Crew:
    """The workers of a cluster: threads by address, the least memory that one may use (None: no limit), a link."""

    threads: Mapping[str, int]
    memory: int | None
    dashboard: str | None

    def __str__(self) -> str:
        from nmfkit.executors.plan import size_text

        workers, each = len(self.threads), sorted(set(self.threads.values()))
        per = f"{each[0]}" if len(each) == 1 else f"{each[0]} to {each[-1]}"
        memory = f", {size_text(self.memory)} each" if self.memory else ""
        link = f"; dashboard {self.dashboard}" if self.dashboard else ""
        threads = "1 thread" if each == [1] else f"{per} threads"
        return f"{workers} worker{'s' if workers > 1 else ''} of {threads}{memory}{link}"


def inspect_crew(client: Client, passport: Passport, source: Source | None, blobs: Blobs) -> Crew:
    """Ask every worker for its software, for the first row of `source` (if any), and to read and write `blobs`.

    Raises `ClusterError` with everything that is wrong anywhere. Workers get what tasks need to keep things.
    """
    token = uuid4().hex
    blobs.put(f"check/{token}", token.encode())
    question = cloudpickle.dumps((source, blobs, token))
    answers = client.run(_answer, passport, question, on_error="return")
    faults: dict[str, list[str]] = {}
    for worker, answer in answers.items():
        for fault in _faults(answer, worker, blobs, token):
            faults.setdefault(fault, []).append(worker)
    blobs.clear("check")
    if faults:
        listed = "\n".join(f"  - {_names(workers, len(answers))}: {fault}" for fault, workers in faults.items())
        raise ClusterError(f"the workers of {address(client)} cannot do this fit:\n{listed}")
    client.register_plugin(Shelf(), name=PLUGIN)
    limits = [answer.memory for answer in answers.values() if answer.memory]
    return Crew(dict(client.nthreads()), min(limits, default=None), _dashboard(client))


@dataclass(frozen=True)
class Answer:
    """What a worker has to say for itself."""

    faults: list[str]
    memory: int | None


def _answer(passport: Passport, question: bytes, dask_worker: Any) -> Answer:
    """Runs on a worker."""
    from nmfkit.executors.worker import memory_limit

    memory = memory_limit(dask_worker)
    faults = passport.faults()
    if faults:
        return Answer(faults, memory)
    try:
        source, blobs, token = cloudpickle.loads(question)
    except Exception as error:
        return Answer([f"the data's kind cannot be loaded: {type(error).__name__}: {error}"], memory)
    try:
        if source is not None:
            source.read(0, 1)
    except Exception as error:
        faults.append(f"the data cannot be read: {error}")
    try:
        if blobs.get(f"check/{token}") != token.encode():
            faults.append(f"the output's folder is another one there: {blobs.place}")
        blobs.put(f"check/{_mark(dask_worker.address)}-{token}", token.encode())
    except NmfkitError as error:
        faults.append(f"the output's folder, which all workers must share, cannot be used: {error}")
    return Answer(faults, memory)


def _faults(answer: Any, worker: str, blobs: Blobs, token: str) -> list[str]:
    if isinstance(answer, ModuleNotFoundError):
        return [f"nmfkit is not installed there, or not whole: {answer}"]
    if isinstance(answer, BaseException):
        return [f"{type(answer).__name__}: {answer}"]
    found: list[str] = list(answer.faults)
    if not found:
        try:
            blobs.get(f"check/{_mark(worker)}-{token}")
        except NmfkitError:
            found.append(f"what it writes into {blobs.place} does not arrive here: the folder must be shared by all")
    return found


def _mark(worker: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in worker)


def _names(workers: list[str], of: int) -> str:
    if len(workers) == of > 1:
        return f"all {of} workers"
    more = f" and {len(workers) - 3} more" if len(workers) > 3 else ""
    return ", ".join(sorted(workers)[:3]) + more


def _dashboard(client: Client) -> str | None:
    """The link to the dashboard, if the scheduler has one."""
    services = client.scheduler_info().get("services", {})
    if "dashboard" not in services or not find_spec("bokeh"):
        return None
    link: str | None = client.dashboard_link
    return link
