"""Where a fit runs and what it may use there, as the caller says it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict, cast

from nmfkit.errors import UsageError
from nmfkit.executors.plan import parse_size
from nmfkit.executors.resources import available_threads

DEVICES = ("cpu", "gpu")
"""What blocks may be worked on: the processors, or NVIDIA GPUs by way of CuPy."""
OF_A_PROCESS = ("memory", "threads", "device", "device_memory")
"""Options that say something of one process, whoever it works for."""


class MachineOptions(TypedDict, total=False):
    """Options of every function that goes through data: where it runs, and what it may use there.

    `memory` (bytes or "2GiB") bounds what a fit holds in this process, or all that each worker uses;
    `threads` of this process defaults to all processors. `workers=N` starts N local dask workers with
    `threads_per_worker` each (default: the processors shared out), 0 insists on this process. `scheduler` is the
    address of a running dask scheduler, a `distributed.Client` or a cluster object, `scheduler_file` the file that one
    wrote; without any of them the environment's DASK_SCHEDULER_ADDRESS decides. `performance_report` names an HTML
    file for dask's record of what the workers did.

    `device` "gpu" computes on a GPU, that of this process or one of each worker; "cpu" (None) on the processors.
    `device_memory` (bytes or "20GiB") bounds what is used of a GPU's own memory; by default most of what is free there.
    """

    memory: str | int | None
    threads: int | None
    workers: int | None
    threads_per_worker: int | None
    scheduler: Any
    scheduler_file: str | os.PathLike[str] | None
    performance_report: str | os.PathLike[str] | None
    device: str | None
    device_memory: str | int | None


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
    device: str | None = None
    device_memory: str | int | None = None

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

    @classmethod
    def ready(cls, options: MachineOptions) -> Machine:
        """`of`, once it is sure that the work can be done here; raises `GpuError` with all that a GPU lacks for it."""
        machine = cls.of(options)
        if machine.on_gpu and (machine.is_here or machine.workers):
            from nmfkit.executors.device.missing import require

            require(machine)
        return machine

    @classmethod
    def on_processors(cls, options: MachineOptions, what: str) -> Machine:
        """`of`, for `what` makes no use of a GPU; raises `UsageError` where one is asked for."""
        machine = cls.of(options)
        if machine.on_gpu:
            raise UsageError(f"{what} is the work of processors; leave out the device")
        return machine

    @property
    def options(self) -> MachineOptions:
        """What `of` makes the same of."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        return cast(MachineOptions, {name: value for name, value in given.items() if value is not None})

    def by(self, client: Any) -> Machine:
        """The same on the workers of `client`."""
        return Machine(memory=self.memory, scheduler=client, device=self.device, device_memory=self.device_memory)

    @property
    def without_gpu(self) -> Machine:
        """The same on processors."""
        return replace(self, device=None, device_memory=None)

    @property
    def on_gpu(self) -> bool:
        """Whether blocks are worked on by a GPU."""
        return self.device == "gpu"

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

    def device_bytes(self) -> int | None:
        """What may be used of a GPU's memory, in bytes; None: most of what is free there."""
        return None if self.device_memory is None else parse_size(self.device_memory)

    @property
    def software(self) -> dict[str, str]:
        """Versions of what does the arithmetic on a GPU, as far as this process has it; none on processors."""
        if not self.on_gpu:
            return {}
        from nmfkit.executors.device.missing import software

        return software()

    def threads_of_worker(self) -> int:
        """Threads of each local worker that is to be started: one, where it is to give a GPU its work."""
        shared_out = 1 if self.on_gpu else max(1, available_threads() // max(1, self.workers or 1))
        return self.threads_per_worker or shared_out


def here(options: MachineOptions) -> MachineOptions:
    """Those for this process, wherever the others would send the work."""
    kept = {name: value for name, value in options.items() if name in OF_A_PROCESS}
    return cast(MachineOptions, {**kept, "workers": 0})


def machine_faults(options: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with the options, in sentences."""
    given = {name: value for name, value in options.items() if value is not None}
    wrong = [
        f"{name} {given[name]!r} is not a whole number ≥ {least}"
        for name, least in (("threads", 1), ("workers", 0), ("threads_per_worker", 1))
        if name in given and not _is_count(given[name], least)
    ]
    wrong += _odd_sizes(given)
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
    return wrong + _device_faults(given)


def _odd_sizes(given: Mapping[str, Any]) -> list[str]:
    wrong = []
    for name in ("memory", "device_memory"):
        try:
            parse_size(given.get(name, 1))
        except UsageError as error:
            wrong.append(f"{name} {error}")
    return wrong


def _device_faults(given: Mapping[str, Any]) -> list[str]:
    device = given.get("device", DEVICES[0])
    if device not in DEVICES:
        return [f"device {device!r} is unknown; there are {' and '.join(DEVICES)}"]
    if device != "gpu" and "device_memory" in given:
        return ["device_memory goes with device gpu, which is not asked for; add that, or leave device_memory out"]
    return []


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
