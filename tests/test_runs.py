"""Runs on disk: kept, interrupted, killed, damaged, and continued as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import zarr
from small import COUNTS, QUICK, X, halved_squares

import nmfkit
from nmfkit.errors import DataError, Interrupted, NmfkitError, SourceError, StoreError, UsageError
from nmfkit.loop import Watcher
from nmfkit.store import RunStore

# --- runs on disk -------------------------------------------------------------------------------------------


def test_a_run_is_loaded_as_it_was_fitted(tmp_path):
    r = nmfkit.fit(COUNTS, loss="kl", out=tmp_path / "run.zarr", reg_h=["l1:0.1"], **QUICK)
    again = nmfkit.load(tmp_path / "run.zarr")
    memory = nmfkit.fit(COUNTS, loss="kl", reg_h=["l1:0.1"], **QUICK)
    for run in (r, again):
        assert np.array_equal(run.w, memory.w)
        assert np.array_equal(run.h, memory.h)
        assert run.problem == memory.problem
        assert run.objective == memory.objective
    memory.save(tmp_path / "copy.zarr")
    assert np.array_equal(nmfkit.load(tmp_path / "copy.zarr").w, memory.w)
    group = zarr.open_group(str(tmp_path / "run.zarr"), mode="r")
    assert {"w", "h", "history", "checkpoint"} <= set(group)
    assert group.attrs["status"] == "done"
    assert group.attrs["nmfkit_format"] == 1
    assert group.attrs["problem"]["loss"] == "kl"
    assert set(group["history"]) == {"sweep", "objective", "seconds"}
    assert {"nmfkit", "numpy", "zarr"} <= set(group.attrs["versions"])


@pytest.mark.parametrize("loss", ["frobenius", "kl", "beta:0.5"])
@pytest.mark.parametrize("memory", [None, "600KiB"])
def test_resume_is_the_uninterrupted_fit_bit_for_bit(tmp_path, loss, memory):
    x = np.tile(COUNTS, (40, 1))
    nmfkit.convert(x, tmp_path / "x.zarr", chunk_mb=0.05)
    options = {"loss": loss, "rank": 4, "tol": 0, "threads": 1, "memory": memory, "reg_w": ["l2:0.1"]}
    whole = nmfkit.fit(tmp_path / "x.zarr", max_sweeps=12, **options)
    nmfkit.fit(tmp_path / "x.zarr", max_sweeps=5, out=tmp_path / "run.zarr", **options)
    resumed = nmfkit.resume(tmp_path / "run.zarr", max_sweeps=12, threads=1, memory=memory)
    assert np.array_equal(whole.w, resumed.w)
    assert np.array_equal(whole.h, resumed.h)
    assert whole.history.objective.tolist() == resumed.history.objective.tolist()
    assert resumed.history.sweep.tolist() == list(range(13))


class Interrupting(Watcher):
    """Presses Ctrl-C after a sweep, or in the middle of one."""

    def __init__(self, after, within=False):
        self.after, self.within, self.done = after, within, 0

    def sweep(self, state):
        self.done = state.sweep
        if not self.within and state.sweep == self.after:
            raise KeyboardInterrupt

    def block(self, size):
        if self.within and self.done == self.after and threading.current_thread() is not threading.main_thread():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)


class Finalizing(Watcher):
    """Presses Ctrl-C while a finalizer runs, where what is raised goes nowhere."""

    def sweep(self, state):
        if state.sweep == 4:
            Last()


class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_that_python_loses_ends_a_fit_all_the_same(tmp_path):
    with pytest.raises(Interrupted, match="interrupted after sweep 4"):
        nmfkit.fit(COUNTS, out=tmp_path / "run.zarr", watcher=Finalizing(), **QUICK)
    resumed = nmfkit.resume(tmp_path / "run.zarr", COUNTS)
    assert np.array_equal(resumed.w, nmfkit.fit(COUNTS, **QUICK).w)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("within", [False, True])
def test_an_interrupted_fit_keeps_its_last_complete_sweep_and_continues_exactly(tmp_path, within):
    x = np.tile(COUNTS, (400, 1))  # two shards, so that workers are threads
    options = {"loss": "kl", "rank": 4, "tol": 0, "max_sweeps": 9, "threads": 2}
    whole = nmfkit.fit(x, **options)
    with pytest.raises(nmfkit.Interrupted, match=r"after sweep 4; continue with: nmfkit resume .*run\.zarr"):
        nmfkit.fit(x, out=tmp_path / "run.zarr", watcher=Interrupting(4, within), **options)
    part = nmfkit.load(tmp_path / "run.zarr")
    assert (part.status, part.history.sweep[-1]) == ("interrupted", 4)
    assert part.objective == whole.history.objective[4]
    with pytest.raises(StoreError, match="pass the same data again"):
        nmfkit.resume(tmp_path / "run.zarr")
    resumed = nmfkit.resume(tmp_path / "run.zarr", x, threads=2)
    assert np.array_equal(resumed.w, whole.w)
    assert np.array_equal(resumed.h, whole.h)


def test_resume_refuses_other_data(tmp_path):
    nmfkit.fit(X, out=tmp_path / "run.zarr", **QUICK)
    with pytest.raises(StoreError, match="would mix two matrices"):
        nmfkit.resume(tmp_path / "run.zarr", X + 1, max_sweeps=30)
    assert nmfkit.resume(tmp_path / "run.zarr", X).history.sweep[-1] == 15  # finished: nothing to do


def test_resume_notices_rows_that_changed_places(tmp_path):
    nmfkit.fit(X, out=tmp_path / "run.zarr", **QUICK)
    swapped = X.copy()
    swapped[[30, 31]] = swapped[[31, 30]]
    for other in (swapped, X[:, [0, 2, 1, *range(3, 40)]]):
        with pytest.raises(StoreError, match=r"changed since the run began|not those"):
            nmfkit.resume(tmp_path / "run.zarr", other, max_sweeps=30)


@pytest.mark.parametrize("change", [50.0, -5.0, np.nan])
def test_resume_notices_a_change_in_the_middle(tmp_path, change):
    np.save(tmp_path / "x.npy", X)
    nmfkit.fit(tmp_path / "x.npy", out=tmp_path / "run.zarr", **QUICK)
    changed = X.copy()
    changed[30, 20] = change
    np.save(tmp_path / "x.npy", changed)
    with pytest.raises(NmfkitError, match=r"changed since the run began|NaN at row 30|negative entry at row 30"):
        nmfkit.resume(tmp_path / "run.zarr", max_sweeps=30)


def test_resume_keeps_to_the_limits(tmp_path):
    r = nmfkit.fit(X, rank=4, max_sweeps=5000, out=tmp_path / "run.zarr")
    sweeps = int(r.history.sweep[-1])
    assert r.stopped_by == "converged"
    for changes in ({"max_sweeps": 6000}, {"tol": 0.5}, {"max_sweeps": sweeps}):
        again = nmfkit.resume(tmp_path / "run.zarr", X, **changes)
        assert (again.history.sweep[-1], again.objective) == (sweeps, r.objective)
    further = nmfkit.resume(tmp_path / "run.zarr", X, max_sweeps=sweeps + 5, tol=0)
    assert (further.history.sweep[-1], further.stopped_by) == (sweeps + 5, "max-sweeps")
    with pytest.raises(UsageError, match="max-sweeps -3"):
        nmfkit.resume(tmp_path / "run.zarr", X, max_sweeps=-3)
    with pytest.raises(UsageError, match="threads 0"):
        nmfkit.resume(tmp_path / "run.zarr", X, threads=0)


@pytest.mark.parametrize("memory", [None, "8MiB"])
def test_resume_repeats_the_layout_of_the_run(tmp_path, memory):
    x = np.tile(COUNTS, (700, 1))
    np.save(tmp_path / "x.npy", x)
    options = {"loss": "kl", "rank": 4, "tol": 0, "memory": memory}
    whole = nmfkit.fit(tmp_path / "x.npy", threads=3, max_sweeps=7, **options)
    nmfkit.fit(tmp_path / "x.npy", threads=3, max_sweeps=3, out=tmp_path / "run.zarr", **options)
    for threads in (None, 1, 2):
        shutil.copytree(tmp_path / "run.zarr", tmp_path / f"copy{threads}.zarr")
        resumed = nmfkit.resume(tmp_path / f"copy{threads}.zarr", threads=threads, max_sweeps=7)
        assert np.array_equal(resumed.w, whole.w)
        assert np.array_equal(resumed.h, whole.h)


def test_an_existing_output_is_refused_before_any_work_and_kept(tmp_path):
    nmfkit.fit(X, out=tmp_path / "run.zarr", **QUICK)
    with pytest.raises(StoreError, match="exists"):
        nmfkit.fit(X, out=tmp_path / "run.zarr", loss="kl", **QUICK)
    bad = X.copy()
    bad[3, 4] = np.nan
    with pytest.raises(DataError, match="NaN at row 3, column 4"):
        nmfkit.fit(bad, out=tmp_path / "run.zarr", overwrite=True, **QUICK)
    assert nmfkit.load(tmp_path / "run.zarr").problem.loss == "frobenius"
    nmfkit.fit(X, out=tmp_path / "run.zarr", overwrite=True, loss="kl", **QUICK)
    assert nmfkit.load(tmp_path / "run.zarr").problem.loss == "kl"
    assert [p.name for p in tmp_path.iterdir()] == ["run.zarr"]


def test_the_source_is_never_overwritten(tmp_path):
    nmfkit.convert(X, tmp_path / "x.zarr")
    for out in ("x.zarr", "x.zarr/run.zarr"):
        with pytest.raises(StoreError, match=r"still needed|lies inside"):
            nmfkit.fit(tmp_path / "x.zarr", out=tmp_path / out, overwrite=True, **QUICK)
    r = nmfkit.fit(tmp_path / "x.zarr", out=tmp_path / "run.zarr", **QUICK)
    for out in ("x.zarr", "run.zarr"):
        with pytest.raises(StoreError, match="still needed"):
            r.transform(X, out=tmp_path / out, overwrite=True)
        with pytest.raises(StoreError, match="still needed"):
            r.save(tmp_path / out, overwrite=True)
    with pytest.raises(StoreError, match="still needed"):
        r.transform(tmp_path / "x.zarr", out=tmp_path / "x.zarr", overwrite=True)
    assert nmfkit.open_source(tmp_path / "x.zarr").shape == (60, 40)


def test_a_link_leads_to_what_it_names(tmp_path):
    nmfkit.fit(X, out=tmp_path / "there.zarr", **QUICK)
    (tmp_path / "link.zarr").symlink_to(tmp_path / "there.zarr")
    nmfkit.fit(X, loss="kl", out=tmp_path / "link.zarr", overwrite=True, **QUICK)
    assert nmfkit.load(tmp_path / "there.zarr").problem.loss == "kl"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.zarr", "there.zarr"]


def test_a_checkpoint_that_fails_leaves_the_one_before(tmp_path, monkeypatch):
    from nmfkit import store

    written = store.write_rows
    calls = []

    def full_disk(*given, **more):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return written(*given, **more)

    monkeypatch.setattr(store, "write_rows", full_disk)
    with pytest.raises(StoreError, match="the disk is full; sweep 6 is kept, continue from it with: nmfkit resume"):
        nmfkit.fit(X, out=tmp_path / "run.zarr", checkpoint_every=3, **QUICK)
    monkeypatch.undo()
    assert nmfkit.load(tmp_path / "run.zarr").history.sweep[-1] == 6
    resumed = nmfkit.resume(tmp_path / "run.zarr", X)
    assert np.array_equal(resumed.w, nmfkit.fit(X, **QUICK).w)


def test_a_first_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    from nmfkit import store

    def full_disk(*_given, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_rows", full_disk)
    with pytest.raises(StoreError, match="the disk is full; nothing was written"):
        nmfkit.fit(X, out=tmp_path / "run.zarr", **QUICK)
    assert list(tmp_path.iterdir()) == []


def test_a_first_write_that_fails_leaves_the_older_run(tmp_path, monkeypatch):
    from nmfkit import store

    first = nmfkit.fit(X, out=tmp_path / "run.zarr", **QUICK).objective

    def full_disk(*_given, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_rows", full_disk)
    for every in (None, 2):
        with pytest.raises(StoreError, match="the disk is full"):
            nmfkit.fit(X, out=tmp_path / "run.zarr", overwrite=True, loss="kl", checkpoint_every=every, **QUICK)
    assert nmfkit.load(tmp_path / "run.zarr").objective == first


def test_an_interrupt_before_the_first_sweep_leaves_the_older_run(tmp_path):
    class Impatient(Watcher):
        def stage(self, name):
            if name == "sweeps":
                raise KeyboardInterrupt

    first = nmfkit.fit(X, out=tmp_path / "run.zarr", **QUICK).objective
    with pytest.raises(KeyboardInterrupt):
        nmfkit.fit(X, out=tmp_path / "run.zarr", overwrite=True, loss="kl", watcher=Impatient(), **QUICK)
    assert nmfkit.load(tmp_path / "run.zarr").objective == first


def test_a_result_that_fails_half_way_is_never_taken_for_one(tmp_path, monkeypatch):
    from nmfkit import store

    nmfkit.fit(X, out=tmp_path / "run.zarr", **QUICK)
    first = nmfkit.load(tmp_path / "run.zarr").w

    def broken(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_write_array", broken)
    with pytest.raises(StoreError):
        nmfkit.resume(tmp_path / "run.zarr", X, max_sweeps=20)
    monkeypatch.undo()
    assert np.array_equal(nmfkit.load(tmp_path / "run.zarr").w, first)


def test_a_signal_waits_for_a_write_and_is_dropped_by_the_last_one(tmp_path, monkeypatch):
    from nmfkit import store

    written = store.write_rows

    def signalled(*given, **more):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        return written(*given, **more)

    monkeypatch.setattr(store, "write_rows", signalled)
    assert nmfkit.fit(X, out=tmp_path / "done.zarr", **QUICK).status == "done"
    with pytest.raises(nmfkit.Interrupted, match="after sweep 5"):
        nmfkit.fit(X, out=tmp_path / "run.zarr", checkpoint_every=5, **QUICK)
    assert nmfkit.load(tmp_path / "run.zarr").history.sweep[-1] == 5


@pytest.mark.parametrize("seconds", [0.05, 0.15, 0.4])
def test_a_killed_process_leaves_a_run_that_continues_exactly(tmp_path, seconds):
    x = np.tile(COUNTS, (50, 1))
    np.save(tmp_path / "x.npy", x)
    code = (
        "import nmfkit; print('ready', flush=True); nmfkit.fit('x.npy', loss='kl', rank=4, tol=0, threads=1, "
        "max_sweeps=100000, checkpoint_every=1, out='run.zarr')"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE)
    process.stdout.readline()
    mark = tmp_path / "run.zarr" / "checkpoint" / "zarr.json"
    while not (mark.exists() and '"slot"' in mark.read_text()):
        time.sleep(0.01)
    time.sleep(seconds)
    process.kill()
    process.wait()
    process.stdout.close()
    part = nmfkit.load(tmp_path / "run.zarr")
    sweep = int(part.history.sweep[-1])
    resumed = nmfkit.resume(tmp_path / "run.zarr", max_sweeps=sweep + 3, threads=1)
    whole = nmfkit.fit(tmp_path / "x.npy", loss="kl", rank=4, tol=0, threads=1, max_sweeps=sweep + 3)
    assert part.objective == whole.history.objective[sweep]
    assert np.array_equal(resumed.w, whole.w)


MORTAL = """
import os, sys
import nmfkit, nmfkit.array_rows
import numpy
from zarr.storage import LocalStore

nmfkit.fit(numpy.eye(4), rank=1, max_sweeps=1, threads=1)
nmfkit.array_rows.CHUNK = 1024

def dying(name):
    real = getattr(LocalStore, name)

    async def call(self, *arguments, **options):
        global left
        left -= 1
        if left == 0:
            os._exit(9)
        return await real(self, *arguments, **options)

    setattr(LocalStore, name, call)

for name in ("set", "delete", "delete_dir"):
    dying(name)
for line in sys.stdin:
    folder, left = line.split()
    left, child = int(left), os.fork()
    if child == 0:
        os.chdir(folder)
        nmfkit.resume("run.zarr", max_sweeps=9, threads=1)
        open("writes", "w").write(str(-left))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""
"""Resumes the run of each folder it is told of, in a process that dies at a write. Each is a copy of the first one,
which has imported what a fit needs."""


@pytest.fixture
def mortal(tmp_path):
    """A function that resumes the run of a folder in a process that dies at a write: the exit status."""
    with subprocess.Popen(
        [sys.executable, "-c", MORTAL], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:

        def resumed(dies_at, folder):
            parent.stdin.write(f"{folder.name} {dies_at}\n")
            parent.stdin.flush()
            return int(parent.stdout.readline())

        yield resumed


def test_a_run_survives_death_at_any_write_of_a_resume(tmp_path, monkeypatch, mortal):
    monkeypatch.setattr("nmfkit.array_rows.CHUNK", 1024)  # several chunks of rows
    np.save(tmp_path / "x.npy", X)
    options = {"rank": 4, "tol": 0, "threads": 1, "max_sweeps": 9}
    whole = nmfkit.fit(tmp_path / "x.npy", **options)
    nmfkit.fit(tmp_path / "x.npy", out=tmp_path / "start.zarr", **{**options, "max_sweeps": 5})

    def fresh(name):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copytree(tmp_path / "start.zarr", folder / "run.zarr")
        return folder

    assert mortal(10**6, fresh("count")) == 0
    writes = int((tmp_path / "count" / "writes").read_text()) + 10**6
    assert writes > 40
    for dies_at in sorted({*np.linspace(1, writes, 12).astype(int), *range(writes - 8, writes + 1)}):
        folder = fresh(str(dies_at))
        assert mortal(dies_at, folder) == 9
        mortal(max(1, writes // 2), folder)  # and once more on the way back
        end = nmfkit.resume(folder / "run.zarr", max_sweeps=9, threads=1)
        assert np.array_equal(end.w, whole.w), dies_at
        assert end.objective == whole.objective


def test_a_lower_limit_after_an_interrupt_ends_the_run_where_it_stands(tmp_path):
    nmfkit.fit(X, out=tmp_path / "run.zarr", rank=4, tol=0, max_sweeps=3)
    with pytest.raises(nmfkit.Interrupted):
        nmfkit.resume(tmp_path / "run.zarr", X, max_sweeps=100, watcher=Interrupting(8))
    r = nmfkit.resume(tmp_path / "run.zarr", X, max_sweeps=6)
    assert (r.history.sweep[-1], r.stopped_by) == (8, "max-sweeps")
    assert r.objective == pytest.approx(halved_squares(X, r), rel=1e-9)


def test_moved_data_are_found_by_a_key_and_remembered(tmp_path):
    np.savez(tmp_path / "k.npz", A=X, B=2 * X)
    nmfkit.fit(tmp_path / "k.npz", key="A", out=tmp_path / "run.zarr", **QUICK)
    (tmp_path / "k.npz").unlink()
    np.save(tmp_path / "moved.npy", X)
    assert nmfkit.resume(tmp_path / "run.zarr", tmp_path / "moved.npy", max_sweeps=17).history.sweep[-1] == 17
    assert nmfkit.resume(tmp_path / "run.zarr", max_sweeps=19).history.sweep[-1] == 19
    np.savez(tmp_path / "again.npz", C=X, D=X)
    further = nmfkit.resume(tmp_path / "run.zarr", tmp_path / "again.npz", key="C", max_sweeps=21)
    assert further.history.sweep[-1] == 21


def test_a_saved_interrupted_run_stays_interrupted(tmp_path):
    with pytest.raises(nmfkit.Interrupted):
        nmfkit.fit(X, out=tmp_path / "run.zarr", watcher=Interrupting(4), **QUICK)
    nmfkit.load(tmp_path / "run.zarr").save(tmp_path / "copy.zarr")
    assert zarr.open_group(str(tmp_path / "copy.zarr"), mode="r").attrs["status"] == "interrupted"
    assert nmfkit.load(tmp_path / "copy.zarr").status == "interrupted"
    resumed = nmfkit.resume(tmp_path / "copy.zarr", X)
    assert np.array_equal(resumed.w, nmfkit.fit(X, **QUICK).w)


def test_a_stored_transform_is_no_run(tmp_path):
    r = nmfkit.fit(X, **QUICK)
    w = r.transform(X[:5], out=tmp_path / "new.zarr")
    assert isinstance(w, zarr.Array)
    assert np.array_equal(w[:], r.transform(X[:5]))
    with pytest.raises(StoreError, match="is no run of nmfkit"):
        nmfkit.load(tmp_path / "new.zarr")


def test_a_result_says_when_another_run_took_its_place(tmp_path):
    fitted = nmfkit.fit(X, out=tmp_path / "run.zarr", **QUICK)
    for change in (
        lambda: nmfkit.resume(tmp_path / "run.zarr", X, max_sweeps=20),
        lambda: nmfkit.fit(100 * X, out=tmp_path / "run.zarr", overwrite=True, **QUICK),
    ):
        loaded = nmfkit.load(tmp_path / "run.zarr")
        change()
        with pytest.raises(StoreError, match="fitted further or replaced"):
            _ = loaded.w
        with pytest.raises(StoreError, match="fitted further or replaced"):
            loaded.save(tmp_path / "copy.zarr")
    assert fitted.objective == pytest.approx(halved_squares(X, fitted))


def test_damaged_runs_are_errors(tmp_path):
    nmfkit.fit(X, out=tmp_path / "run.zarr", **QUICK)
    chunk = next(p for p in (tmp_path / "run.zarr" / "w" / "c").rglob("*") if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-9])
    with pytest.raises(StoreError, match="cannot read"):
        _ = nmfkit.load(tmp_path / "run.zarr").w
    chunk.unlink()
    with pytest.raises(StoreError, match="missing"):
        _ = nmfkit.load(tmp_path / "run.zarr").w
    (tmp_path / "run.zarr" / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match="not a readable zarr group"):
        nmfkit.load(tmp_path / "run.zarr")
    with pytest.raises(StoreError, match="does not exist"):
        nmfkit.load(tmp_path / "none.zarr")


def test_a_damaged_chunk_of_the_data_names_its_rows_and_keeps_the_checkpoint(tmp_path):
    nmfkit.convert(np.tile(X, (20, 1)), tmp_path / "x.zarr", chunk_mb=0.05)
    nmfkit.fit(tmp_path / "x.zarr", rank=4, max_sweeps=4, tol=0, out=tmp_path / "run.zarr")
    chunk = tmp_path / "x.zarr" / "X" / "c" / "3" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-5])
    with pytest.raises(SourceError, match="rows"):
        nmfkit.resume(tmp_path / "run.zarr", max_sweeps=9)
    assert nmfkit.load(tmp_path / "run.zarr").history.sweep[-1] == 4


def test_of_two_that_go_on_with_one_run_the_second_to_a_checkpoint_stops_and_spoils_nothing(tmp_path):
    path = tmp_path / "run.zarr"
    nmfkit.fit(COUNTS, out=path, **QUICK)
    one, other = RunStore.open(path, mode="r+"), RunStore.open(path, mode="r+")
    state = one.restore()
    one.checkpoint(state, len(COUNTS))
    kept = RunStore.open(path).token
    with pytest.raises(StoreError, match="another process has gone on"):
        other.checkpoint(state, len(COUNTS))
    assert RunStore.open(path).token == kept
    assert nmfkit.load(path).w.shape == (60, 4)
