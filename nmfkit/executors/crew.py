"""Whether the workers of a cluster can do the work: same software, data in reach, a place that all can write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from uuid import uuid4

import cloudpickle
from distributed import Client

from nmfkit.errors import ClusterError, NmfkitError
from nmfkit.executors.blobs import Blobs
from nmfkit.executors.device.asked import Gpu, GpuAsked, shared_gpus
from nmfkit.executors.machine import Machine
from nmfkit.executors.passport import Passport
from nmfkit.executors.plan import size_text
from nmfkit.executors.waiting import address
from nmfkit.executors.worker import PLUGIN, Shelf
from nmfkit.protocols import Source


@dataclass(frozen=True)
class Crew:
    """The workers of a cluster: threads by address, the least memory that one may use (None: no limit), a link.

    `device_memory` is the least that is free on a GPU of theirs, where those are asked for.
    """

    threads: Mapping[str, int]
    memory: int | None
    dashboard: str | None
    device_memory: int | None = None

    def __str__(self) -> str:
        count, threads = len(self.threads), sorted(set(self.threads.values()))
        range_of = str(threads[0]) if len(threads) == 1 else f"{threads[0]} to {threads[-1]}"
        memory = f" and {size_text(self.memory)}" if self.memory else ""
        link = f"; dashboard {self.dashboard}" if self.dashboard else ""
        workers = "1 worker" if count == 1 else f"{count} workers"
        each = "" if count == 1 else " each"
        gpu = f", a GPU with {size_text(self.device_memory)} free" if self.device_memory else ""
        return f"{workers} with {range_of} thread{'s' if threads != [1] else ''}{memory}{gpu}{each}{link}"


def inspect_crew(
    client: Client, passport: Passport, source: Source | None, blobs: Blobs, machine: Machine | None = None
) -> Crew:
    """Ask every worker for its software, for the first row of `source` (if any), and to read and write `blobs`.

    Where `machine` computes on GPUs, each must have one of its own.

    Raises `ClusterError` with everything that is wrong anywhere. Workers get what tasks need to keep things.
    """
    token = uuid4().hex
    blobs.make().put(f"check/{token}", token.encode())
    asked = None if machine is None or not machine.on_gpu else GpuAsked(machine.device_bytes())
    question = cloudpickle.dumps((source, blobs, token, asked))
    answers = client.run(_answer, passport, question, on_error="return")
    faults: dict[str, list[str]] = {}
    for worker, answer in answers.items():
        for fault in _faults(answer, worker, blobs, token):
            faults.setdefault(fault, []).append(worker)
    blobs.clear("check")
    faults |= shared_gpus(answers)
    if faults:
        listed = "\n".join(f"  - {_names(workers, len(answers))}: {fault}" for fault, workers in faults.items())
        raise ClusterError(f"the workers of {address(client)} cannot do this fit:\n{listed}")
    client.register_plugin(Shelf(), name=PLUGIN)
    limits = [answer.memory for answer in answers.values() if answer.memory]
    gpus = [answer.gpu.free for answer in answers.values() if answer.gpu]
    return Crew(dict(client.nthreads()), min(limits, default=None), _dashboard(client), min(gpus, default=None))


@dataclass(frozen=True)
class Answer:
    """What a worker has to say for itself."""

    faults: list[str]
    memory: int | None
    gpu: Gpu | None = None


def _answer(passport: Passport, question: bytes, dask_worker: Any) -> Answer:
    """Runs on a worker."""
    from nmfkit.executors.worker import memory_limit

    memory = memory_limit(dask_worker)
    faults = passport.faults()
    if faults:
        return Answer(faults, memory)
    try:
        source, blobs, token, asked = cloudpickle.loads(question)
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
        faults.append(
            f"the output's folder, which all workers must share, cannot be used: {error} (without an output it is the "
            "folder for temporary files: name an output, or set TMPDIR)"
        )
    gpu, lacking = (None, []) if asked is None else asked.answer()
    return Answer([*faults, *lacking], memory, gpu)


def _faults(answer: Any, worker: str, blobs: Blobs, token: str) -> list[str]:
    if isinstance(answer, BaseException) and "No module named 'nmfkit" in str(answer):  # as dask wraps it
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
