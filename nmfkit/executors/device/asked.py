"""Whether every worker has a GPU of its own, and how much of its memory is free."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from nmfkit.executors.device.missing import free_bytes, missing


class Gpu(NamedTuple):
    """The GPU of a worker: free bytes, and what tells it from all others anywhere."""

    free: int
    identity: str


@dataclass(frozen=True)
class GpuAsked:
    """What a worker is asked for: a GPU with `memory` bytes to use (None: whatever is free)."""

    memory: int | None

    def answer(self) -> tuple[Gpu | None, list[str]]:
        """The GPU of this process, or all that keeps it from computing on one."""
        reasons = missing(self.memory)
        free = None if reasons else free_bytes()
        if free is None and not reasons:
            reasons = ["the GPU could be used a moment ago and cannot now; nvidia-smi shows what state it is in"]
        return (None if free is None else Gpu(free, _identity())), reasons


def shared_gpus(answers: Mapping[str, Any]) -> dict[str, list[str]]:
    """Faults with the workers that share a GPU: each would take its memory for its own."""
    users: dict[str, list[str]] = {}
    for worker, answer in answers.items():
        if (gpu := getattr(answer, "gpu", None)) is not None:
            users.setdefault(gpu.identity, []).append(worker)
    return {
        f"they share one GPU ({identity}): start one worker for each GPU (dask cuda worker does, or set "
        "CUDA_VISIBLE_DEVICES for each)": workers
        for identity, workers in users.items()
        if len(workers) > 1
    }


def _identity() -> str:
    import cupy

    found = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    uuid = found.get("uuid", b"")
    mark = uuid.hex() if isinstance(uuid, bytes) and any(uuid) else cupy.cuda.Device().pci_bus_id
    return f"{mark} of {platform.node()}"
