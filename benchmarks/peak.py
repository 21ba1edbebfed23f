"""The largest memory of each worker during a fit of a matrix far larger than all of them may use."""

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

import nmfkit
from nmfkit.executors.plan import parse_size
from nmfkit.loop import Watcher

PAUSE = 0.05
"""Seconds between two looks; the system keeps each process's peak, so that only its last moments can be missed."""


@dataclass(frozen=True)
class Peaks:
    """`workers` holds the peak of every worker process, restarted ones too; `client` that of this process."""

    limit: int
    workers: list[int]
    client: int
    seconds: list[float]
    objective: float


class Peak(threading.Thread):
    """Looks at the processes that this one has started until told to stop."""

    def __init__(self):
        super().__init__(daemon=True)
        self.found: dict[int, int] = {}
        self._ended = threading.Event()

    def run(self):
        while not self._ended.wait(PAUSE):
            for process in psutil.Process().children(recursive=True):
                try:
                    if "spawn_main" in " ".join(process.cmdline()):
                        self.found[process.pid] = max(self.found.get(process.pid, 0), resident_peak(process.pid))
                except (psutil.Error, OSError, StopIteration):
                    continue  # it has ended meanwhile

    def stop(self):
        self._ended.set()
        self.join()


class Sweeps(Watcher):
    """The time of every sweep."""

    def __init__(self):
        self.seconds: list[float] = []
        self._before = 0.0

    def stage(self, name):
        if name == "sweeps":
            self._before = time.perf_counter()

    def sweep(self, state):
        del state
        now = time.perf_counter()
        self.seconds.append(now - self._before)
        self._before = now


def resident_peak(pid) -> int:
    """Bytes that a process had in memory at most so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])


def peaks(path, folder, *, workers, threads, limit, loss, sweeps) -> Peaks:
    """Fit the matrix at `path` on `workers` that may use `limit` each."""
    watcher, peak = Sweeps(), Peak()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    peak.start()
    try:
        result = nmfkit.fit(
            path, loss=loss, rank=20, max_sweeps=sweeps, tol=0, out=folder / "run", workers=workers,
            threads_per_worker=threads, memory=limit, watcher=watcher,
        )  # fmt: skip
    finally:
        peak.stop()
    return Peaks(
        parse_size(limit), list(peak.found.values()), resident_peak(os.getpid()), watcher.seconds, result.objective
    )
