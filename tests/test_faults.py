"""Workers, schedulers, clients, stores and data that fail while a fit runs on a cluster: it ends as if they had not."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import dask
import numpy as np
import psutil
import pytest
import scipy.sparse as sp
from clusters import (
    COUNTS,
    FIT,
    PATIENCE,
    Site,
    Trapped,
    assert_identical,
    cluster,
    deadline,
    descendants,
    disarm,
    fail,
    files,
    free_port,
    is_equipped,
    kill,
    swallow,
    trap,
    unsettle,
    until,
    wait_for,
)  # fmt: skip
from typer.testing import CliRunner

import nmfkit
from nmfkit.cli.app import app
from nmfkit.errors import ClusterError, SourceError, StoreError
from nmfkit.executors.cluster import ClusterExecutor
from nmfkit.executors.waiting import settled
from nmfkit.loop import Watcher
from nmfkit.registry import registry

SLOW = pytest.mark.slow


@pytest.fixture(autouse=True)
def in_time():
    with deadline():
        yield


@pytest.fixture(scope="module")
def site():
    """Two workers of one thread, which nannies bring back."""
    with cluster(memory_limit="2GiB") as client:
        yield client


@pytest.fixture
def crew(site):
    """The same for one test, which may have killed some."""
    yield site
    site.wait_for_workers(2, timeout=PATIENCE)
    site.run(disarm)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "x.zarr"
    nmfkit.convert(COUNTS, path, chunk_mb=0.5)
    return path


@pytest.fixture(scope="module")
def whole(site, stored, tmp_path_factory):
    """What a fit on two workers gives when nothing happens, written down."""
    return nmfkit.fit(stored, out=tmp_path_factory.mktemp("runs") / "run.zarr", scheduler=site, **FIT)


def fitted(stored, out, client, **more):
    return nmfkit.fit(stored, out=out, scheduler=client, **{**FIT, **more})


class At(Watcher):
    """Does something after a sweep, or after the first checkpoint."""

    def __init__(self, sweep, action):
        self.at, self.action = sweep, action

    def sweep(self, state):
        if state.sweep == self.at:
            self.action()

    def checkpoint(self, sweep):
        if self.at == "checkpoint" and sweep >= 3:
            self.at = None
            self.action()


# --- workers --------------------------------------------------------------------------------------------------

MOMENTS = {
    "looking at the data": ("read", "X/c/5", 0),
    "writing the first rows": ("write", r"rows/\d+/0$", 0),
    "writing rows in the middle": ("write", r"rows/\d+/", 20),
    "writing H": ("write", "state/", 1),
    "writing W": ("write", "w/c/1", 0),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_worker_killed_costs_nothing_but_time(crew, stored, whole, tmp_path, monkeypatch, moment):
    monkeypatch.setattr("nmfkit.array_rows.CHUNK", 2**14)  # several chunks of W
    spot, pattern, skip = MOMENTS[moment]
    before = set(crew.nthreads())
    trap(crew, spot, pattern, kill(), once=tmp_path / "once", skip=skip)
    run = fitted(stored, tmp_path / "run.zarr", crew)
    assert (tmp_path / "once").exists()
    assert set(crew.nthreads()) != before
    for found in (run, nmfkit.load(tmp_path / "run.zarr")):
        assert_identical(found, whole)
    assert not (tmp_path / "run.zarr" / "checkpoint" / "work").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name != "once"] == ["run.zarr"]


def test_a_worker_killed_in_the_middle_of_an_epoch_costs_nothing_but_time(crew, stored, tmp_path):
    """While it reads a block for a batch: others read the block, and the epoch goes on at that batch."""
    training = {"model": "ig-mdsr-nmf", "rank": 4, "tol": 0, "max_sweeps": 3, "scheduler": crew}
    training["model_options"] = {"hidden_sizes": "9,6", "batch_size": "300"}
    undisturbed = nmfkit.fit(stored, **training)
    crew.run(unsettle)
    # Seven blocks are read for the probe, for the first look and for the start, by both workers together.
    trap(crew, "read", "X/c/", kill(), once=tmp_path / "once", skip=25)
    run = nmfkit.fit(stored, **training)
    assert (tmp_path / "once").exists()
    assert_identical(run, undisturbed)


def test_all_workers_killed_at_once_cost_nothing_but_time(stored, whole, tmp_path):
    with cluster() as client, deadline():
        before = set(client.nthreads())
        trap(client, "write", r"rows/\d+/", kill(), skip=10)
        assert_identical(fitted(stored, tmp_path / "run.zarr", client), whole)
        assert set(client.nthreads()).isdisjoint(before)


def test_a_worker_that_comes_back_alone_under_its_address_does_the_others_part(stored, whole, tmp_path):
    (tmp_path / "site").mkdir()
    ports = [free_port(), free_port()]
    with Site(tmp_path / "site") as site, deadline():
        workers = [site.worker(port=port) for port in ports]
        with site.client(2) as client:
            trap(client, "write", r"rows/\d+/", kill(), skip=10)

            def again():
                for worker in workers:
                    worker.wait(PATIENCE)
                until(lambda: not client.nthreads(), "the end of all workers")
                site.worker(port=ports[0])

            restarting = threading.Thread(target=again)
            restarting.start()
            assert_identical(fitted(stored, tmp_path / "run.zarr", client), whole)
            restarting.join(PATIENCE)


@SLOW
def test_the_only_worker_killed_costs_nothing_but_time(stored, tmp_path):
    with cluster(1) as client, deadline():
        undisturbed = fitted(stored, None, client)
        trap(client, "write", r"rows/\d+/", kill(), skip=10)
        assert_identical(fitted(stored, tmp_path / "run.zarr", client), undisturbed)


@SLOW
def test_workers_that_die_again_and_again_cost_nothing_but_time(stored, whole, tmp_path):
    with cluster() as client:
        client.register_plugin(Trapped("write", r"rows/\d+/", kill(), None, 12))
        assert_identical(fitted(stored, tmp_path / "run.zarr", client), whole)


class Remembering(At):
    """Keeps who ran each sweep's shards."""

    def __init__(self, monkeypatch, sweep, action):
        super().__init__(sweep, action)
        real, self.ran = ClusterExecutor.advance, []

        def advance(executor, *given):
            found = real(executor, *given)
            self.ran.append({report.worker for report in executor.reports})
            return found

        monkeypatch.setattr(ClusterExecutor, "advance", advance)


def running(client):
    """Workers that take tasks: one that has just come is listed before it does."""
    workers = client.scheduler_info()["workers"]
    return {address for address, worker in workers.items() if worker["status"] == "running"}


def test_a_worker_may_come_back_under_another_address(stored, whole, tmp_path, monkeypatch):
    with cluster() as client:
        before = set(client.nthreads())
        pids = client.run(os.getpid)

        def replace():
            os.kill(min(pids.values()), signal.SIGKILL)
            until(lambda: len(running(client)) == 2 and running(client) != before, "another worker")
            until(lambda: all(client.run(is_equipped).values()), "its equipment")
            # Beside a worker that has done such tasks before, a new one may get none of so few; alone it gets them all.
            client.retire_workers(list(running(client) & before))

        watcher = Remembering(monkeypatch, 3, replace)
        assert_identical(fitted(stored, tmp_path / "run.zarr", client, watcher=watcher), whole)
        assert watcher.ran[3] == before
        later = set.union(*watcher.ran[4:])
        assert later
        assert not later & before


@pytest.mark.parametrize("to", [3, 1])
def test_workers_come_and_go_between_sweeps(stored, whole, tmp_path, monkeypatch, to):
    with cluster() as client:
        before = set(client.nthreads())

        def scale():
            client.cluster.scale(to)
            until(lambda: len(client.nthreads()) == to, "the change")

        watcher = Remembering(monkeypatch, 3, scale)
        assert_identical(fitted(stored, tmp_path / "run.zarr", client, watcher=watcher), whole)
        assert watcher.ran[3] == before
        assert set.union(*watcher.ran[4:]) <= set(client.nthreads()) != before


def napping(seconds, error=None):
    time.sleep(seconds)
    if error is not None:
        raise error
    return "the result"


def test_a_result_that_comes_just_when_the_wait_for_it_ends_is_taken(crew, monkeypatch):
    monkeypatch.setattr("nmfkit.executors.waiting.POLL", 0.01)
    for i in range(60):
        future = crew.submit(napping, 0.02 + 0.0002 * i, pure=False)
        assert settled(crew, future) == "the result"
    with pytest.raises(TimeoutError, match="its own"):
        settled(crew, crew.submit(napping, 0.03, TimeoutError("its own"), pure=False))


def without_workers(client):
    """Take them all away."""
    client.cluster.scale(0)
    until(lambda: not client.nthreads(), "the end of all workers")


def test_a_fit_waits_for_workers_while_there_are_none(stored, whole, tmp_path):
    with cluster() as client:
        timer = threading.Timer(0.5, client.cluster.scale, [2])

        def gone():
            without_workers(client)
            timer.start()

        assert_identical(fitted(stored, tmp_path / "run.zarr", client, watcher=At(3, gone)), whole)
        timer.join()


def test_workers_that_stay_away_end_the_fit_with_what_it_has(crew, stored, whole, tmp_path, monkeypatch):
    monkeypatch.setattr("nmfkit.executors.waiting.NO_WORKERS", 0.5)
    with cluster() as client, pytest.raises(ClusterError, match=r"no worker has come to tcp://\S+ for") as caught:
        fitted(stored, tmp_path / "run.zarr", client, watcher=At(3, lambda: without_workers(client)))
    assert "sweep 3 is kept; continue from it with: nmfkit resume" in caught.value.__notes__[0]
    assert_identical(nmfkit.resume(tmp_path / "run.zarr", scheduler=crew), whole)
    assert files(tmp_path / "run.zarr") == files(whole.path)


def contents(path):
    """Every file below a folder; what a killed process had not renamed yet is no part of a store."""
    return {name: (path / name).read_bytes() for name in files(path) if not name.endswith(".partial")}


@pytest.mark.parametrize(("kind", "spot", "pattern"), [
    ("dense", "read", "X/c/4"), ("dense", "write", "X/c/4"),
    ("csr", "read", "indices/c/4"), ("csr", "write", "data/c/4"), ("csr", "write", "indptr/c/0"),
])  # fmt: skip
def test_a_conversion_survives_a_worker_killed(crew, tmp_path, monkeypatch, kind, spot, pattern):
    for module in ("zarr_write", "csr_spread"):
        monkeypatch.setattr(f"nmfkit.sources.{module}.READ_BYTES", 2**19)
        monkeypatch.setattr(f"nmfkit.sources.{module}.CALL_BLOCKS", 2)
    nmfkit.convert(COUNTS if kind == "dense" else sp.csr_array(COUNTS), tmp_path / "x.zarr", chunk_mb=0.5)
    alone = nmfkit.convert(tmp_path / "x.zarr", tmp_path / "alone.zarr", chunk_mb=0.3)
    trap(crew, spot, pattern, kill(), once=tmp_path / "once")
    told = nmfkit.convert(tmp_path / "x.zarr", tmp_path / "y.zarr", chunk_mb=0.3, scheduler=crew)
    assert (tmp_path / "once").exists()
    assert {name: told[name] for name in ("kind", "shape", "nnz")} == {n: alone[n] for n in ("kind", "shape", "nnz")}
    assert contents(tmp_path / "y.zarr") == contents(tmp_path / "alone.zarr")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["alone.zarr", "once", "x.zarr", "y.zarr"]


# --- memory ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["600MiB"])
def test_a_worker_that_runs_out_of_memory_once_costs_nothing_but_time(stored, whole, tmp_path, limit):
    with cluster(memory_limit=limit) as client:
        trap(client, "write", r"rows/\d+/", swallow(700 * 2**20), once=tmp_path / "once", skip=8)
        assert_identical(fitted(stored, tmp_path / "run.zarr", client), whole)
    assert (tmp_path / "once").exists()


def test_workers_that_always_run_out_of_memory_end_the_fit_with_a_word_on_memory(crew, stored, whole, tmp_path):
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}), cluster(memory_limit="600MiB") as client:
        client.register_plugin(Trapped("write", r"rows/6/0$", swallow(700 * 2**20), None, 0))
        with pytest.raises(ClusterError, match=r"died at one and the same task.*memory of 600 MiB.*--memory") as caught:
            fitted(stored, tmp_path / "run.zarr", client)
    assert "continue from it with: nmfkit resume" in caught.value.__notes__[0]
    assert_identical(nmfkit.resume(tmp_path / "run.zarr", scheduler=crew), whole)


# --- the scheduler ----------------------------------------------------------------------------------------------


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


OPTIONS = ["--rank", 4, "--loss", "kl", "--tol", 0, "--max-sweeps", 8]


def test_a_fit_whose_scheduler_is_lost_goes_on_elsewhere(crew, stored, whole, tmp_path):
    (tmp_path / "site").mkdir()
    with Site(tmp_path / "site") as site, dask.config.set({"distributed.comm.timeouts.connect": "2s"}):
        site.worker()
        site.worker()
        with site.client(2) as client:
            trap(client, "write", r"rows/6/\d+", kill(site.scheduler.pid), once=tmp_path / "once")
        done = invoke("fit", stored, *OPTIONS, "--scheduler-file", site.file, "-o", tmp_path / "run.zarr")
    assert done.exit_code == 1, done.output
    assert re.search(r"error: the connection to the scheduler at tcp://\S+ is lost", done.stderr)
    assert re.search(r"sweep \d is kept; continue from it with: nmfkit resume \S+run.zarr", done.stderr)
    for name, place in {"cluster": {"scheduler": crew}, "here": {"threads": 2}, "alone": {"threads": 1}}.items():
        shutil.copytree(tmp_path / "run.zarr", tmp_path / name)
        assert_identical(nmfkit.resume(tmp_path / name, **place), whole)
        assert files(tmp_path / name) == files(whole.path)


@pytest.mark.parametrize("place", [{"scheduler": "tcp://127.0.0.1:9"}, {"scheduler_file": "none.json"}])
def test_a_scheduler_that_is_not_there_is_told(stored, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nmfkit.executors.connect.SCHEDULER_FILE", 0.3)
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(ClusterError, match=r"no dask scheduler answers at tcp://|none\.json has not appeared within"),
    ):
        nmfkit.fit(stored, **place, **FIT)


# --- the client -------------------------------------------------------------------------------------------------

CLIENT = """
import sys
import nmfkit

print("ready", flush=True)
input()
nmfkit.fit(sys.argv[1], out="run.zarr", scheduler=sys.argv[2], rank=4, loss="kl", tol=0, max_sweeps=int(sys.argv[3]),
           checkpoint_every=1)
"""


@contextmanager
def started(*arguments, folder):
    """A client process that waits for a line."""
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, *map(str, arguments)], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def go(process):
    process.stdin.write(b"\n")
    process.stdin.flush()


@pytest.mark.parametrize("skip", [19, 26, *(pytest.param(n, marks=SLOW) for n in (17, 18, 20, 21, 23, 25, 28, 31))])
def test_a_client_killed_leaves_a_run_that_continues_exactly(crew, stored, whole, tmp_path, skip):
    with started(stored, crew.scheduler.address, 8, folder=tmp_path) as process:
        trap(crew, "write", r"rows/\d+/", kill(process.pid), once=tmp_path / "once", skip=skip)
        go(process)
        assert process.wait(PATIENCE) == -signal.SIGKILL
    assert_identical(nmfkit.resume(tmp_path / "run.zarr", scheduler=crew), whole)
    assert files(tmp_path / "run.zarr") == files(whole.path)


def test_a_client_killed_before_anything_was_kept_is_told(crew, stored, whole, tmp_path):
    with started(stored, crew.scheduler.address, 8, folder=tmp_path) as process:
        trap(crew, "write", r"run.zarr/.*rows/\d+/", kill(process.pid), once=tmp_path / "once")
        go(process)
        assert process.wait(PATIENCE) == -signal.SIGKILL
    with pytest.raises(StoreError, match="interrupted before its first checkpoint; fit it again with --overwrite"):
        nmfkit.resume(tmp_path / "run.zarr", scheduler=crew)
    assert_identical(fitted(stored, tmp_path / "run.zarr", crew, overwrite=True), whole)
    assert files(tmp_path / "run.zarr") == files(whole.path)


def idle(client):
    """Wait until no worker does anything any more."""
    until(lambda: not any(client.run(lambda dask_worker: dask_worker.state.executing_count).values()), "idleness")


def test_a_task_that_outlives_its_client_writes_nothing_more(crew, stored, whole, tmp_path):
    gate, reached = tmp_path / "gate", tmp_path / "reached"
    with started(stored, crew.scheduler.address, 8, folder=tmp_path) as process:
        trap(crew, "write", r"rows/7/\d+", wait_for(gate, reached), once=tmp_path / "once")
        go(process)
        until(reached.exists, "the write")
    try:
        assert_identical(nmfkit.resume(tmp_path / "run.zarr", threads=2), whole)
    finally:
        gate.touch()
        idle(crew)
    assert files(tmp_path / "run.zarr") == files(whole.path)


def test_a_task_that_outlives_a_fit_that_failed_does_not_bring_it_back(crew, stored, tmp_path):
    gate, reached = tmp_path / "gate", tmp_path / "reached"
    trap(crew, "write", r"run.zarr/.*rows/\d+/0$", wait_for(gate, reached), once=tmp_path / "once")

    def press():
        until(reached.exists, "the write")
        os.kill(os.getpid(), signal.SIGINT)

    pressing = threading.Thread(target=press)
    pressing.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            fitted(stored, tmp_path / "run.zarr", crew)
    finally:
        gate.touch()
        pressing.join(PATIENCE)
        idle(crew)
    assert not (tmp_path / "run.zarr").exists()


# --- stores and data --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hasty():
    """Two workers that read every block in every sweep."""
    with cluster() as client:
        client.run(unsettle)
        yield client


@pytest.fixture
def readers(hasty):
    """The same for one test."""
    yield hasty
    hasty.run(disarm)


def test_a_store_that_answers_slowly_is_waited_for(readers, stored, whole, tmp_path):
    trap(readers, "read", r"X/c/", lambda: time.sleep(0.02))
    assert_identical(fitted(stored, tmp_path / "run.zarr", readers), whole)


@pytest.mark.parametrize(("spot", "pattern"), [("read", r"X/c/3/"), ("write", r"rows/5/"), ("write", "state/"),
                                               ("read", r"rows/5/"), ("write", r"w/c/0")])  # fmt: skip
def test_a_store_that_fails_once_is_asked_again(readers, stored, whole, tmp_path, spot, pattern):
    trap(readers, spot, pattern, fail("no answer"), once=tmp_path / "once")
    assert_identical(fitted(stored, tmp_path / "run.zarr", readers), whole)
    assert (tmp_path / "once").exists()


def test_a_store_that_never_answers_is_told_with_its_rows(readers, stored, whole, tmp_path):
    arming = At("checkpoint", lambda: trap(readers, "read", r"X/c/3/", fail("no answer")))
    with pytest.raises(SourceError, match=r"x\.zarr/X: rows \d+ … \d+ cannot be read: OSError: no answer") as caught:
        fitted(stored, tmp_path / "run.zarr", readers, watcher=arming, checkpoint_every=3)
    assert "continue from it with: nmfkit resume" in caught.value.__notes__[-1]
    readers.run(disarm)
    assert_identical(nmfkit.resume(tmp_path / "run.zarr", scheduler=readers), whole)


def test_a_run_that_cannot_be_written_keeps_what_it_has(readers, stored, whole, tmp_path):
    arming = At("checkpoint", lambda: trap(readers, "write", r"rows/\d+/", fail("no room")))
    with pytest.raises(StoreError, match=r"rows/\d+/\d+ cannot be written: OSError: no room"):
        fitted(stored, tmp_path / "run.zarr", readers, watcher=arming, checkpoint_every=3)
    readers.run(disarm)
    assert nmfkit.load(tmp_path / "run.zarr").history.sweep[-1] >= 3
    assert_identical(nmfkit.resume(tmp_path / "run.zarr", scheduler=readers), whole)


def flipped(data):
    return data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]


DAMAGE = {
    "missing": lambda chunk: chunk.unlink(),
    "short": lambda chunk: chunk.write_bytes(chunk.read_bytes()[:-9]),
    "a bit": lambda chunk: chunk.write_bytes(flipped(chunk.read_bytes())),
}


@pytest.mark.parametrize(
    ("kind", "damage"),
    [*(("dense", d) for d in DAMAGE), *(pytest.param("csr", d, marks=SLOW) for d in ("short", "a bit"))],
)
def test_a_chunk_that_is_damaged_while_a_fit_runs_is_told_with_its_rows(readers, tmp_path, damage, kind):
    x = COUNTS if kind == "dense" else sp.random_array(
        (6000, 1500), density=0.06, format="csr", rng=np.random.default_rng(1))  # fmt: skip
    nmfkit.convert(x, tmp_path / "x.zarr", chunk_mb=0.2)
    undisturbed = fitted(tmp_path / "x.zarr", None, readers)
    name, what = ("X", "rows") if kind == "dense" else ("data", "entries")
    chunks = sorted((p for p in (tmp_path / "x.zarr").glob(f"**/{name}/c/**/*") if p.is_file()), key=chunk_number)
    chunk = chunks[len(chunks) // 3]
    sound = chunk.read_bytes()
    with pytest.raises(SourceError, match=r"x\.zarr\S*: rows \d+ … \d+.* cannot be read: ") as caught:
        fitted(tmp_path / "x.zarr", tmp_path / "run.zarr", readers, checkpoint_every=3,
               watcher=At("checkpoint", lambda: DAMAGE[damage](chunk)))  # fmt: skip
    assert what in str(caught.value)
    assert "continue from it with: nmfkit resume" in caught.value.__notes__[-1]
    assert nmfkit.load(tmp_path / "run.zarr").history.sweep[-1] >= 3
    with pytest.raises(SourceError, match=r"cannot be read"):
        nmfkit.resume(tmp_path / "run.zarr", scheduler=readers)
    chunk.write_bytes(sound)
    assert_identical(nmfkit.resume(tmp_path / "run.zarr", scheduler=readers), undisturbed)


def chunk_number(path):
    return [int(part) for part in path.parts[path.parts.index("c") + 1 :]]


# --- software ---------------------------------------------------------------------------------------------------

OTHER = """
import importlib.metadata

real = importlib.metadata.version
importlib.metadata.version = lambda name: {answer} if name == {name!r} else real(name)
"""
HIDDEN = """
import sys


class Hiding:
    def find_spec(self, name, *more):
        if name.split(".")[0] == "nmfkit":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Hiding())
"""
PLUGIN = """
from nmfkit.hookspecs import PartSpec, hookimpl


@hookimpl
def nmfkit_losses():
    return [PartSpec("mine", "a loss", "nmfkit_plugins.beta.divergence:beta_divergence", preset={"beta": 1.0})]
"""


def install(folder, version):
    """A plugin in a folder of its own."""
    info = folder / f"mine-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mine\nVersion: {version}\n")
    (info / "entry_points.txt").write_text("[nmfkit]\nmine = mine\n")
    (folder / "mine.py").write_text(PLUGIN)
    return folder


@pytest.fixture
def plugged(tmp_path, monkeypatch):
    """The folder of a plugin that this process has."""
    folder = install(tmp_path / "one", "1.0")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("NMFKIT_PLUGINS", "nmfkit,mine")
    registry.cache_clear()
    yield folder
    registry.cache_clear()


def test_all_that_is_wrong_with_the_workers_is_told_at_once_before_any_work(stored, tmp_path, plugged):
    (tmp_path / "site").mkdir()
    with Site(tmp_path / "site") as site:
        site.worker(plugged)
        site.worker()
        site.worker(install(tmp_path / "two", "2.0"), before=OTHER.format(name="numpy", answer="'0.1'"))
        site.worker(before=HIDDEN)
        with site.client(4) as client:
            workers = {w["name"]: address for address, w in client.scheduler_info(n_workers=-1)["workers"].items()}
            with pytest.raises(ClusterError) as caught:
                fitted(stored, tmp_path / "run.zarr", client, loss="mine")
    text = str(caught.value)
    assert re.match(r"the workers of tcp://\S+ cannot do this fit:\n", text)
    assert workers["worker-1"] not in text
    assert f"  - {workers['worker-2']}: mine 1.0 is not installed\n" in f"{text}\n"
    assert f"  - {workers['worker-3']}: mine is 2.0 there and 1.0 here\n" in f"{text}\n"
    assert f"  - {workers['worker-3']}: numpy is 0.1 there and {np.__version__} here\n" in f"{text}\n"
    assert re.search(rf"  - {workers['worker-4']}: .*(nmfkit is not installed|No module named 'nmfkit')", text)
    assert not (tmp_path / "run.zarr").exists()


def test_a_worker_that_comes_late_with_other_software_never_spoils_a_fit(crew, stored, whole, tmp_path):
    with cluster() as client, Site(tmp_path, client.scheduler.address) as more:

        def join():
            more.worker(before=OTHER.format(name="numpy", answer="'0.1'"))
            until(lambda: len(client.nthreads()) == 3, "the third worker")
            client.retire_workers(sorted(set(client.nthreads()) & before))

        before = set(client.nthreads())
        with pytest.raises(ClusterError, match=r"worker tcp://\S+ does not fit: numpy is 0.1 there") as caught:
            fitted(stored, tmp_path / "run.zarr", client, watcher=At(3, join))
    assert "continue from it with: nmfkit resume" in caught.value.__notes__[-1]
    assert_identical(nmfkit.resume(tmp_path / "run.zarr", scheduler=crew), whole)


def test_a_worker_that_comes_late_without_nmfkit_is_not_let_in(stored, whole, tmp_path):
    with cluster() as client, Site(tmp_path, client.scheduler.address) as more:
        late = At(3, lambda: more.worker(before=HIDDEN).wait(PATIENCE))
        assert_identical(fitted(stored, tmp_path / "run.zarr", client, watcher=late), whole)


# --- several fits at once ---------------------------------------------------------------------------------------


def test_fits_in_threads_of_one_client_share_a_cluster(crew, stored, whole, tmp_path):
    other = fitted(stored, None, crew, loss="frobenius")
    with ThreadPoolExecutor(3) as pool:
        losses = ["kl", "frobenius", "kl"]
        runs = [
            pool.submit(fitted, stored, tmp_path / f"{i}.zarr", crew, loss=loss, watcher=Watcher())
            for i, loss in enumerate(losses)
        ]
        for run, loss in zip(runs, losses, strict=True):
            assert_identical(run.result(PATIENCE), whole if loss == "kl" else other)


def test_fits_of_two_clients_share_a_cluster_and_its_faults(crew, stored, whole, tmp_path):
    with started(stored, crew.scheduler.address, 8, folder=tmp_path) as process:
        go(process)
        until(lambda: is_kept(tmp_path / "run.zarr"), "the checkpoint")
        trap(crew, "write", r"rows/\d+/", kill(), once=tmp_path / "once", skip=20)
        here = fitted(stored, tmp_path / "here.zarr", crew)
        assert process.wait(PATIENCE) == 0
    assert_identical(here, whole)
    assert_identical(nmfkit.load(tmp_path / "run.zarr"), whole)


# --- Ctrl-C -----------------------------------------------------------------------------------------------------


def to_group(number):
    return lambda process: os.killpg(process.pid, number)


def to_it(number):
    return lambda process: process.send_signal(number)


def both(first, second):
    def signals(process):
        first(process)
        second(process)

    return signals


SIGNALS = {
    "ctrl-c": to_group(signal.SIGINT),
    "sigterm": to_it(signal.SIGTERM),
    "ctrl-c twice": both(to_group(signal.SIGINT), to_group(signal.SIGINT)),
    "sigint to the client": to_it(signal.SIGINT),
    "sigterm to all": to_group(signal.SIGTERM),
}
RARE = ("ctrl-c twice", "sigint to the client", "sigterm to all")


LONG = [*OPTIONS[:-1], 100000, "--checkpoint-every", 1, "--workers", 2, "--threads-per-worker", 1]


@contextmanager
def command(*arguments, folder):
    """nmfkit, in a process group of its own; nothing of it is left in the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nmfkit", *map(str, arguments)], cwd=folder, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        for left in [*descendants(process.pid), process] if process.poll() is None else []:
            left.kill()
        process.communicate(timeout=PATIENCE)


def is_kept(run):
    mark = run / "checkpoint" / "zarr.json"
    return mark.exists() and '"slot"' in mark.read_text()


@pytest.mark.parametrize("send", [pytest.param(s, marks=[SLOW] * (s in RARE)) for s in SIGNALS])
def test_a_signal_ends_a_fit_and_its_workers_and_leaves_a_checkpoint(crew, stored, tmp_path, send):
    run = tmp_path / "run.zarr"
    with command("fit", stored, *LONG, "-o", run, folder=tmp_path) as process:
        until(lambda: is_kept(run), "the checkpoint")
        started = descendants(process.pid)
        SIGNALS[send](process)
        _, told = process.communicate(timeout=PATIENCE)
        _, left = psutil.wait_procs(started, timeout=10)
    assert process.returncode == 130, told
    assert len(started) >= 2
    assert not left
    assert re.search(r"interrupted after sweep \d+; continue with: nmfkit resume", told), told
    assert "Traceback" not in told
    assert [p.name for p in tmp_path.iterdir()] == ["run.zarr"]
    sweep = int(nmfkit.load(run).history.sweep[-1])
    resumed = nmfkit.resume(run, max_sweeps=sweep + 3, scheduler=crew)
    assert_identical(resumed, fitted(stored, None, crew, max_sweeps=sweep + 3))


@SLOW
@pytest.mark.parametrize("seconds", [0.3, 0.6, 0.9, 1.2, 1.5, 2.0])
def test_ctrl_c_while_a_fit_begins_leaves_nothing(stored, tmp_path, seconds):
    run = tmp_path / "run.zarr"
    with command("fit", stored, *LONG[:-6], "--workers", 2, "-o", run, folder=tmp_path) as process:
        time.sleep(seconds)  # any moment will do
        began = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=PATIENCE)
        _, left = psutil.wait_procs(began, timeout=10)
    assert process.returncode in (130, -signal.SIGINT), told  # the latter before a line of ours has run
    assert not left
    assert [p.name for p in tmp_path.iterdir()] in ([], ["run.zarr"])
    if run.exists():
        assert nmfkit.load(run).status == "interrupted"
