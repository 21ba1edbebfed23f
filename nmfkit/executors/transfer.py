"""What a fit takes of a GPU's own memory, and what crosses over to it and back, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nmfkit.check import Resolved
from nmfkit.executors.device.budget import DevicePlan, device_plan, memory_here
from nmfkit.executors.device.missing import free_bytes
from nmfkit.executors.machine import Machine
from nmfkit.executors.open import _needs, local_plan
from nmfkit.executors.plan import Plan, size_text, worker_budget
from nmfkit.executors.resources import free_memory
from nmfkit.protocols import Source

BANDWIDTH = 20e9
"""Bytes a second each way over PCI Express 4.0 with 16 lanes from page-locked memory: of 31.5e9, what copies reach."""
GIVEN, FREE, ASSUMED = "given", "free", "assumed"
"""What the figure of the GPU's memory rests on."""


@dataclass(frozen=True)
class Transfer:
    """How a GPU's memory is divided, what `basis` its size has, and what crosses over.

    With `workers` it is one of theirs, and `source_bytes` is what X has for it.
    """

    plan: DevicePlan
    basis: str
    source_bytes: int
    workers: int = 0

    @classmethod
    def of(cls, plan: Plan, machine: Machine) -> Transfer | None:
        """That of a plan; None where all is done by processors."""
        if plan.device is None:
            return None
        return cls(plan.device, _basis(machine), plan.source_bytes // max(1, plan.workers), plan.workers)

    @property
    def seconds(self) -> float:
        """The least that the copies of a sweep take at `BANDWIDTH`; both ways go at once."""
        return max(self.plan.sent_per_sweep, self.plan.returned_per_sweep) / BANDWIDTH

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **self.plan.describe(),
            "memory_is": self.basis,
            "gpus": max(1, self.workers),
            "assumed_bytes_per_second": BANDWIDTH,
            "transfer_seconds_per_sweep": self.seconds,
        }

    def lines(self) -> list[str]:
        """For people."""
        p = self.plan
        where = "on the GPU" if p.rows_resident else "on the host, sent along with the blocks"
        return [
            *_told("  GPU", *self._there()),
            *_told("    shared", f"factors and statistics, {size_text(p.shared_bytes)}"),
            *_told("    W", f"{size_text(p.rows_bytes // max(1, self.workers))} {where}"),
            *_told("    X", *self._kept()),
            *_told("    a step", f"temporaries of at most {size_text(p.step_bytes)}"),
            *_told("  moved per sweep", *self._moved()),
        ]

    def _there(self) -> list[str]:
        lines = [f"{size_text(self.plan.memory)} of its memory"]
        if self.basis == FREE:
            lines[0] += ", most of what is free"
        elif self.basis == ASSUMED:
            lines.append("(assumed, as there is none to ask: see --device-memory)")
        if self.workers > 1:
            lines.append(f"one each for {self.workers:,} workers, and this is one of them")
        return lines

    def _kept(self) -> list[str]:
        p = self.plan
        if p.resident:
            return [f"all of it stays there, {size_text(p.cache_bytes)}"]
        return [
            f"{size_text(p.cache_bytes)} of {size_text(self.source_bytes)} stay there,",
            f"the rest passes through {p.slots} buffers of {size_text(p.slot_bytes)}",
        ]

    def _moved(self) -> list[str]:
        sent, returned = self.plan.sent_per_sweep, self.plan.returned_per_sweep
        if not sent and not returned:
            return ["nothing: X goes to the GPU once, and W stays there"]
        back = f", {size_text(returned)} back" if returned else ""
        rate = f"{BANDWIDTH / 1e9:.0f} GB/s, assumed of PCIe 4.0 × 16"
        return [f"{size_text(sent)} to the GPU{back}:", f"{_seconds_text(self.seconds)} or more at {rate}"]


def foreseen(source: Source, resolved: Resolved, machine: Machine) -> Plan:
    """The plan on a GPU, or on one for each local worker of `machine`; none of them need be there."""
    count = machine.workers or 0
    if not count:
        return local_plan(source, resolved, machine)
    each = free_memory() // count
    memory = worker_budget(min(each, machine.memory_bytes() or each))
    there = memory_here(machine.device_bytes())
    return device_plan(source, device_memory=there, memory=memory, workers=count, **_needs(source, resolved))


def _basis(machine: Machine) -> str:
    """What the size of the GPU's memory rests on; workers of a scheduler say how much they have."""
    if machine.device_memory is not None:
        return GIVEN
    told = not machine.is_here and not machine.workers
    return FREE if told or free_bytes() is not None else ASSUMED


def _told(name: str, *texts: str) -> list[str]:
    """Lines of a name and what is told of it."""
    return [f"{head:<19}{text}" for head, text in zip([name, *[""] * len(texts)], texts, strict=False)]


def _seconds_text(seconds: float) -> str:
    number, unit = (seconds, "s") if seconds >= 0.1 else (1000 * seconds, "ms")
    return f"{float(f'{number:.2g}'):g} {unit}"
