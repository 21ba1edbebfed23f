"""Where a fit runs and what it may use there, as the caller says it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypedDict

from nmfkit.errors import UsageError
from nmfkit.executors.plan import available_threads, parse_size


class MachineOptions(TypedDict, total=False):
    """Options of every function that goes through data: where it runs, and what it may use there.

    `memory` (bytes or "2GiB") bounds what a fit holds in this process, or all that each worker uses;
    `threads` of this process defaults to all processors. `workers=N` starts N local dask workers with
    `threads_per_worker` each (default: the processors shared out), 0 insists on this process. `scheduler` is the
    address of a running dask scheduler, a `distributed.Client` or a cluster object, `scheduler_file` the file that one
    wrote; without any of them the environment's DASK_SCHEDULER_ADDRESS decides. `performance_report` names an HTML
    file for dask's record of what the workers did.
    """

    memory: str | int | None
    threads: int | None
    workers: int | None
    threads_per_worker: int | None
    scheduler: Any
    scheduler_file: str | os.PathLike[str] | None
    performance_report: str | os.PathLike[str] | None


@dataclass(frozen=True)
class Machine:
    """`MachineOptions`, checked; raises `UsageError` with all that is wrong with them."""

    memory: str | int | None = None
    threads: int | None = None
    workers: int | None = None
    threads_per_worker: int | None = None
    scheduler: Any = None
    scheduler_file: str | os.PathLike[str] | None = None
    performance_report: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if faults := machine_faults(vars(self)):
            raise UsageError("; ".join(faults))

    @classmethod
    def of(cls, options: MachineOptions) -> Machine:
        """The options as given; raises `TypeError` on an unknown one."""
        unknown = sorted(set(options) - {f.name for f in fields(cls)})
        if unknown:
            raise TypeError(f"unexpected keyword argument {', '.join(map(repr, unknown))}")
        return cls(**options)

    @property
    def is_here(self) -> bool:
        """Whether the work is done by threads of this process."""
        return self.workers == 0 or (not self.workers and self.address is None)

    @property
    def address(self) -> Any:
        """Where the scheduler is, None where none is named; what names a place or threads beats the environment."""
        if self.scheduler is not None or self.scheduler_file is not None:
            return self.scheduler if self.scheduler is not None else self.scheduler_file
        if self.workers is not None or self.threads is not None:
            return None
        return os.environ.get("DASK_SCHEDULER_ADDRESS") or None

    def memory_bytes(self) -> int | None:
        """The memory in bytes; raises `UsageError` where it is no size."""
        return None if self.memory is None else parse_size(self.memory)

    def threads_of_worker(self) -> int:
        """Threads of each local worker that is to be started."""
        return self.threads_per_worker or max(1, available_threads() // max(1, self.workers or 1))


def machine_faults(options: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with the options, in sentences."""
    given = {name: value for name, value in options.items() if value is not None}
    wrong = [
        f"{name} {given[name]!r} is not a whole number ≥ {least}"
        for name, least in (("threads", 1), ("workers", 0), ("threads_per_worker", 1))
        if name in given and not _is_count(given[name], least)
    ]
    try:
        parse_size(given.get("memory", 1))
    except UsageError as error:
        wrong.append(f"memory {error}")
    here = given.get("workers") == 0
    places = [name for name in ("workers", "scheduler", "scheduler_file") if name in given]
    if len(places) > 1:
        wrong.append(f"{' and '.join(places)} name different places to run at; give one of them")
    elif places and not here and "threads" in given:
        wrong.append(f"threads are those of this process, and {places[0]} sends the work elsewhere; leave one out")
    if "threads_per_worker" in given and (here or "workers" not in given):
        wrong.append("threads_per_worker goes with workers, which says how many of them to start")
    there = places or ("threads" not in given and os.environ.get("DASK_SCHEDULER_ADDRESS"))
    if "performance_report" in given and (here or not there):
        wrong.append("performance_report is about dask workers; add workers or a scheduler")
    return wrong


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
