"""Dask clusters for tests: on processes of this machine, with traps that make them fail when a test wants it.

What runs on workers travels by value, so that they need not find this module.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import cloudpickle
import dask
import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster, WorkerPlugin
from zarr.storage import LocalStore

cloudpickle.register_pickle_by_value(sys.modules[__name__])

PATIENCE = 120.0
"""Seconds after which a test gives up waiting."""
RNG = np.random.default_rng(3)
COUNTS = RNG.poisson(RNG.gamma(0.5, 2.0, (2400, 4)) @ RNG.gamma(0.5, 2.0, (4, 400))).astype(float)
"""Seven blocks of a megabyte, so that two workers have four shards."""
FIT = {"rank": 4, "loss": "kl", "tol": 0, "max_sweeps": 8}


@contextmanager
def cluster(workers=2, **options):
    """A client of a new cluster on this machine: processes of one thread, unless `options` say otherwise."""
    given = {"threads_per_worker": 1, "processes": True, "dashboard_address": ":0", "silence_logs": "CRITICAL"}
    # Dask gives a worker up for good that happens to be away, dying again, 15 s after it died.
    patient = dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"})
    with patient, LocalCluster(n_workers=workers, **{**given, **options}) as there:  # noqa: SIM117
        with Client(there, set_as_default=False) as client:
            yield client


@contextmanager
def deadline(seconds=PATIENCE):
    """An error in the main thread where the block takes longer: a fit that hangs must not hang the tests."""

    def overdue(_number, _frame):
        pytest.fail(f"not done in {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def until(holds, what):
    """Wait for what no event tells of."""
    deadline = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < deadline, f"{what} did not come in {PATIENCE:.0f} s"
        time.sleep(0.01)
    return found


def is_equipped(dask_worker):
    """Runs on a worker: whether it has what nmfkit's tasks need, and has imported it."""
    return "nmfkit" in dask_worker.plugins


# --- traps ----------------------------------------------------------------------------------------------------


def trap(client, spot, pattern, action, *, once=None, skip=0):
    """Let every worker do `action` when it is about to read or write (`spot`) a file whose name matches `pattern`.

    `once` is a path: the first to create it is the only one. `skip` lets each worker through so many times.
    """
    client.run(arm, spot, pattern, action, None if once is None else str(once), skip)


def arm(spot, pattern, action, once, skip):
    """Runs on a worker. What is written goes through `os.replace` when it is complete, so that nothing is there yet."""
    for owner, name, at in SPOTS[spot]:
        setattr(owner, name, trapped(getattr(owner, name), at, pattern, action, once, skip))


def trapped(real, at, pattern, action, once, skip):
    seen = []

    @functools.wraps(real)
    def sprung(*given, **more):
        if re.search(pattern, str(given[at])):
            seen.append(1)
            if len(seen) > skip and (once is None or first(once)):
                action()
        return real(*given, **more)

    return sprung


SPOTS = {"write": [(os, "replace", 1)], "read": [(LocalStore, "get", 1), (Path, "read_bytes", 0)]}
"""What is called for it, and which argument is the name of the file."""


def disarm():
    """Runs on a worker: all traps are gone."""
    for owner, name, _ in [place for places in SPOTS.values() for place in places]:
        while hasattr(getattr(owner, name), "__wrapped__"):
            setattr(owner, name, getattr(owner, name).__wrapped__)


def first(path):
    """Whether nobody has been here before."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def kill(pid=None):
    """An action: SIGKILL for a process, or for the worker itself."""
    return lambda: os.kill(pid or os.getpid(), signal.SIGKILL)


def fail(message):
    """An action: what a store says that does not answer."""

    def failing():
        raise OSError(message)

    return failing


def wait_for(gate, reached):
    """An action: make the file `reached`, then do nothing until there is a file `gate`."""
    gate, reached = Path(gate), Path(reached)

    def waiting():
        reached.touch()
        deadline = time.monotonic() + 60
        while not gate.exists() and time.monotonic() < deadline:
            time.sleep(0.01)

    return waiting


def swallow(size):
    """An action: take memory until the nanny ends the worker."""

    def swallowing():
        taken = np.ones(size, np.uint8)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            time.sleep(0.05)
        del taken

    return swallowing


class Trapped(WorkerPlugin):
    """A trap that is there for workers that come later, too."""

    name = "trapped"

    def __init__(self, *arguments):
        self.arguments = arguments

    def setup(self, worker):
        arm(*self.arguments)

    def teardown(self, worker):
        disarm()


def unsettle():
    """Runs on a worker: it keeps no blocks, and tries at once again what failed."""
    from nmfkit.executors import cache, worker

    worker.PATIENCE = (0.01, 0.01, 0.01)
    cache.BlockCache.get = lambda *given: None


# --- clusters of programs that are started one by one -----------------------------------------------------------


class Site:
    """A scheduler and its workers, each a program of its own; or workers of another scheduler at `address`."""

    def __init__(self, folder, address=None):
        self.folder, self.started, self.address = Path(folder), [], address
        self.file = self.folder / "scheduler.json"
        if address is None:
            self.scheduler = self._start("scheduler", "--port", 0, "--scheduler-file", self.file, "--no-dashboard")

    def worker(self, *folders, before="", port=0):
        """Start a worker of one thread that finds modules in `folders`; `before` is Python that it runs first."""
        shim = self.folder / f"shim-{len(self.started)}"
        shim.mkdir()
        (shim / "sitecustomize.py").write_text(before)
        where = [self.address] if self.address else ["--scheduler-file", self.file]
        return self._start(
            "worker", *where, "--nthreads", 1, "--worker-port", port, "--no-nanny", "--no-dashboard",
            "--memory-limit", "2GiB", "--name", f"worker-{len(self.started)}", path=[shim, *folders],
        )  # fmt: skip

    def _start(self, *arguments, path=()):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
        with (self.folder / f"{arguments[0]}-{len(self.started)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *map(str, arguments)], stdout=log, stderr=log, cwd=self.folder,
                env=environment, start_new_session=True,
            )  # fmt: skip
        self.started.append(process)
        return process

    @contextmanager
    def client(self, workers):
        """A client, once there are so many workers."""
        until(lambda: self.file.exists() and self.file.stat().st_size, "the scheduler")
        with Client(scheduler_file=str(self.file), set_as_default=False, timeout=10) as client:
            client.wait_for_workers(workers, timeout=PATIENCE)
            yield client

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for process in self.started:
            process.kill()
        for process in self.started:
            process.wait(PATIENCE)


def free_port():
    """A port that nobody listens at."""
    with socket.socket() as there:
        there.bind(("", 0))
        return there.getsockname()[1]


# --- what is compared -------------------------------------------------------------------------------------------


def assert_identical(a, b):
    """Two results, bit for bit."""
    assert np.array_equal(a.w, b.w)
    assert np.array_equal(a.h, b.h)
    assert a.history.objective.tolist() == b.history.objective.tolist()
    assert a.history.sweep.tolist() == b.history.sweep.tolist()


def files(path):
    """The names of all files below a folder."""
    return sorted(str(p.relative_to(path)) for p in Path(path).rglob("*") if p.is_file())


def descendants(pid):
    """All processes that a process has started, directly or not."""
    return psutil.Process(pid).children(recursive=True)
