"""Fits end to end through the Python door."""

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
import scipy.sparse as sp
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import nmfkit
from nmfkit.errors import DataError, NmfkitError, SourceError, StoreError, UsageError
from nmfkit.loop import Record, Watcher, reason_to_stop
from nmfkit.problem import Problem

RNG = np.random.default_rng(7)
X = RNG.gamma(0.5, 2.0, (60, 4)) @ RNG.gamma(0.5, 2.0, (4, 40)) + 0.01 * RNG.random((60, 40))
COUNTS = RNG.poisson(X).astype(float)
QUICK = {"rank": 4, "max_sweeps": 15, "tol": 0}


def same(a, b, tolerance=1e-9):
    np.testing.assert_allclose(a.objective, b.objective, rtol=tolerance)
    np.testing.assert_allclose(a.w @ a.h, b.w @ b.h, rtol=1e-6, atol=1e-8 * float(np.max(b.w @ b.h)))


def halved_squares(x, r):
    return 0.5 * np.sum((x - r.w @ r.h) ** 2)


# --- what comes back ----------------------------------------------------------------------------------------


def test_the_objective_is_that_of_the_returned_factors():
    for sweeps in (0, 1, 7):
        r = nmfkit.fit(X, rank=4, max_sweeps=sweeps, tol=0)
        assert r.objective == pytest.approx(halved_squares(X, r), rel=1e-9)
        assert r.history.sweep.tolist() == list(range(sweeps + 1))
        assert r.history[-1].objective == r.objective
        assert (r.w.shape, r.h.shape, r.status, r.stopped_by) == ((60, 4), (4, 40), "done", "max-sweeps")
        assert r.w.min() >= 0
        assert r.h.min() >= 0


def test_regularizers_count_with_their_plain_definitions():
    r = nmfkit.fit(COUNTS, loss="kl", reg_w=["l1:0.3", "l2:0.2"], reg_h="l2:0.5", **QUICK)
    y = r.w @ r.h
    kl = np.sum(COUNTS * np.log(np.where(COUNTS > 0, COUNTS, 1) / y) - COUNTS + y)
    penalty = 0.3 * r.w.sum() + 0.1 * np.sum(r.w**2) + 0.25 * np.sum(r.h**2)
    assert r.objective == pytest.approx(kl + penalty, rel=1e-12)


def test_a_fit_repeats_bit_for_bit():
    one, two = (nmfkit.fit(COUNTS, loss="kl", seed=3, **QUICK) for _ in range(2))
    assert np.array_equal(one.w, two.w)
    assert np.array_equal(one.h, two.h)
    assert not np.array_equal(one.h, nmfkit.fit(COUNTS, loss="kl", seed=4, **QUICK).h)


def test_given_factors_are_the_start():
    w, h = RNG.random((60, 4)), RNG.random((4, 40))
    r = nmfkit.fit(X, w=w, h=h, rank=4, max_sweeps=0, rule="mu")
    assert np.array_equal(r.h, h)
    partly = nmfkit.fit(X, h=h, rank=4, max_sweeps=0, rule="mu")
    assert np.array_equal(partly.h, h)


@pytest.mark.parametrize(
    ("factors", "fault"),
    [
        ({"w": np.ones((60, 3))}, r"w has shape \(60, 3\), and the problem needs \(60, 4\)"),
        ({"h": -np.ones((4, 40))}, "h holds negative"),
        ({"h": np.full((4, 40), np.nan)}, "h holds negative or non-finite"),
    ],
)
def test_starting_factors_that_do_not_fit_are_refused(factors, fault):
    with pytest.raises(UsageError, match=fault):
        nmfkit.fit(X, rank=4, **factors)


def test_transform_of_the_training_rows_is_at_least_as_good_as_their_fit():
    r = nmfkit.fit(X, rank=4, max_sweeps=50)
    w = r.transform(X, max_sweeps=500, tol=1e-9)
    assert 0.5 * np.sum((X - w @ r.h) ** 2) <= r.objective * (1 + 1e-6)
    with pytest.raises(UsageError, match="the run has 40 features, and memory has 39"):
        r.transform(X[:, :39])


def test_transform_of_new_rows_with_zero_rows():
    r = nmfkit.fit(COUNTS, loss="kl", rank=4)
    w = r.transform(np.vstack([COUNTS[:3], np.zeros((1, 40))]))
    assert w.shape == (4, 4)
    assert w[3].max() < 1e-9
    assert nmfkit.fit(X, rank=2).transform(np.zeros((2, 40))).max() == 0


# --- the same matrix in every dress -------------------------------------------------------------------------

DRESSES = {
    "fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3],
    "reversed": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "csr": sp.csr_array,
    "csc": sp.csc_matrix,
    "coo": sp.coo_array,
    "int64": lambda x: x.astype(np.int64),
    "uint16": lambda x: x.astype(np.uint16),
}


@pytest.mark.parametrize("loss", ["frobenius", "kl", "beta:0.5"])
@pytest.mark.parametrize("dress", DRESSES)
def test_every_dress_gives_the_same_fit(dress, loss):
    worn = DRESSES[dress](COUNTS)
    before = worn.copy()
    fit = nmfkit.fit(worn, loss=loss, dtype="float64", **QUICK)
    same(fit, nmfkit.fit(COUNTS, loss=loss, **QUICK))
    changed = worn != before
    assert not (changed.nnz if sp.issparse(changed) else changed.any())


def test_read_only_and_mapped_arrays(tmp_path):
    np.save(tmp_path / "x.npy", X)
    locked = X.copy()
    locked.setflags(write=False)
    reference = nmfkit.fit(X, **QUICK)
    same(nmfkit.fit(locked, **QUICK), reference)
    same(nmfkit.fit(tmp_path / "x.npy", **QUICK), reference)
    same(nmfkit.fit(np.load(tmp_path / "x.npy", mmap_mode="r"), **QUICK), reference)


def test_bool_and_half_precision():
    mask = X > 1
    same(nmfkit.fit(mask, dtype="float64", **QUICK), nmfkit.fit(mask.astype(float), **QUICK))
    assert nmfkit.fit(X.astype(np.float16), **QUICK).w.dtype == np.float32
    assert nmfkit.fit(X.astype(np.float32), **QUICK).h.dtype == np.float32


def test_duplicates_unsorted_indices_and_explicit_zeros_are_summed_away():
    csr = sp.csr_array(COUNTS)
    rows, columns = np.repeat(np.arange(60), np.diff(csr.indptr)), csr.indices
    data = np.concatenate([csr.data / 2, csr.data / 2, np.zeros(5)])
    order = np.random.default_rng(0).permutation(len(data))
    i, j = np.concatenate([rows, rows, np.arange(5)])[order], np.concatenate([columns, columns, np.arange(5)])[order]
    by_row = np.argsort(i, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(i, minlength=60))])
    messy = sp.csr_array((data[order][by_row], j[by_row], indptr), shape=COUNTS.shape)
    assert not messy.has_canonical_format
    same(nmfkit.fit(messy, loss="kl", **QUICK), nmfkit.fit(COUNTS, loss="kl", **QUICK))


@pytest.mark.parametrize("loss", ["frobenius", "kl", "is"])
@pytest.mark.parametrize("shape", [(1, 7), (7, 1), (1, 1), (3, 5)])
def test_single_rows_columns_and_more_components_than_either(shape, loss):
    x = RNG.random(shape) + 0.1
    for init in ("random", "nndsvd", "nndsvda"):
        r = nmfkit.fit(x, loss=loss, rank=6, init=init, max_sweeps=30)
        assert np.isfinite(r.objective)
        assert r.w.shape == (shape[0], 6)


@pytest.mark.parametrize("loss", ["frobenius", "kl", "beta:0.5", "beta:1.5", "beta:3"])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_zero_rows_and_columns(loss, kind):
    x = COUNTS.copy()
    x[[0, 17, 59]] = 0
    x[:, [3, 39]] = 0
    r = nmfkit.fit(kind(x), loss=loss, rank=4, max_sweeps=200)
    y = r.w @ r.h
    assert np.isfinite(r.objective)
    assert np.diff(r.history.objective).max() <= 1e-9 * r.history.objective[0]
    if loss != "beta:3":  # there the way to zero is slow
        assert max(y[[0, 17, 59]].max(), y[:, [3, 39]].max()) < 1e-2 * y.max()


@settings(max_examples=15)
@given(chunk=st.integers(1, 61), sparse=st.booleans(), loss=st.sampled_from(["frobenius", "kl", "beta:1.5"]))
def test_zarr_in_any_chunks_on_any_threads(tmp_path_factory, chunk, sparse, loss):
    path = tmp_path_factory.mktemp("z") / "x.zarr"
    if sparse:
        nmfkit.convert(sp.csr_array(COUNTS), path, chunk_mb=chunk * 40e-6)
    else:
        zarr.create_array(str(path), data=COUNTS, chunks=(chunk, 17))
    reference = nmfkit.fit(COUNTS, loss=loss, **QUICK)
    for threads, memory in ((1, None), (3, "1MiB")):
        same(nmfkit.fit(path, loss=loss, threads=threads, memory=memory, **QUICK), reference, 1e-8)


# --- stopping -----------------------------------------------------------------------------------------------


def history(*objectives):
    return [Record(i, o, 0.0) for i, o in enumerate(objectives)]


def test_reasons_to_stop():
    flat = history(*[5.0] * 11)
    assert reason_to_stop(Problem(), flat, 0) == "converged"
    assert reason_to_stop(Problem(), flat[:10], 0) is None
    assert reason_to_stop(Problem(tol=0), flat, 0) is None
    assert reason_to_stop(Problem(max_sweeps=10), flat, 0) == "max-sweeps"
    assert reason_to_stop(Problem(time_limit=1), history(2.0), 1.5) == "time-limit"
    assert reason_to_stop(Problem(tol=1e-2), history(*np.linspace(6, 5, 11)), 0) is None


def test_a_fit_converges_and_says_so():
    r = nmfkit.fit(X, rank=4, max_sweeps=5000)
    assert r.stopped_by == "converged"
    assert r.history.sweep[-1] < 5000


def test_the_time_limit_ends_a_fit():
    r = nmfkit.fit(X, rank=4, max_sweeps=10**6, tol=0, time_limit=0.05)
    assert r.stopped_by == "time-limit"


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
        with pytest.raises(StoreError, match=r"which is still needed|lies inside"):
            nmfkit.fit(tmp_path / "x.zarr", out=tmp_path / out, overwrite=True, **QUICK)
    r = nmfkit.fit(tmp_path / "x.zarr", out=tmp_path / "run.zarr", **QUICK)
    for out in ("x.zarr", "run.zarr"):
        with pytest.raises(StoreError, match="which is still needed"):
            r.transform(X, out=tmp_path / out, overwrite=True)
        with pytest.raises(StoreError, match="which is still needed"):
            r.save(tmp_path / out, overwrite=True)
    with pytest.raises(StoreError, match="which is still needed"):
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

    def full_disk(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return written(*arguments)

    monkeypatch.setattr(store, "write_rows", full_disk)
    with pytest.raises(StoreError, match="the disk is full; sweep 6 is kept, continue from it with: nmfkit resume"):
        nmfkit.fit(X, out=tmp_path / "run.zarr", checkpoint_every=3, **QUICK)
    monkeypatch.undo()
    assert nmfkit.load(tmp_path / "run.zarr").history.sweep[-1] == 6
    resumed = nmfkit.resume(tmp_path / "run.zarr", X)
    assert np.array_equal(resumed.w, nmfkit.fit(X, **QUICK).w)


def test_a_first_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    from nmfkit import store

    def full_disk(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_rows", full_disk)
    with pytest.raises(StoreError, match="the disk is full; nothing was written"):
        nmfkit.fit(X, out=tmp_path / "run.zarr", **QUICK)
    assert list(tmp_path.iterdir()) == []


def test_a_first_write_that_fails_leaves_the_older_run(tmp_path, monkeypatch):
    from nmfkit import store

    first = nmfkit.fit(X, out=tmp_path / "run.zarr", **QUICK).objective

    def full_disk(*arguments):
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

    def signalled(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        return written(*arguments)

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


def test_a_stored_transform_is_no_run(tmp_path):
    r = nmfkit.fit(X, **QUICK)
    w = r.transform(X[:5], out=tmp_path / "new.zarr")
    assert isinstance(w, zarr.Array)
    assert np.array_equal(w[:], r.transform(X[:5]))
    with pytest.raises(StoreError, match="is no run of nmfkit"):
        nmfkit.load(tmp_path / "new.zarr")


def test_a_result_says_when_another_run_took_its_place(tmp_path):
    fitted = nmfkit.fit(X, out=tmp_path / "run.zarr", **QUICK)
    loaded = nmfkit.load(tmp_path / "run.zarr")
    nmfkit.fit(100 * X, out=tmp_path / "run.zarr", overwrite=True, **QUICK)
    with pytest.raises(StoreError, match="holds another run by now"):
        _ = loaded.w
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


# --- refusals -----------------------------------------------------------------------------------------------

BAD = {
    "NaN": (np.where(np.arange(2400).reshape(60, 40) == 123, np.nan, X), "NaN at row 3, column 3"),
    "inf": (np.where(np.arange(2400).reshape(60, 40) == 124, np.inf, X), "infinite value at row 3, column 4"),
    "minus inf": (np.where(np.arange(2400).reshape(60, 40) == 5, -np.inf, X), "infinite value at row 0, column 5"),
    "negative": (np.where(np.arange(2400).reshape(60, 40) == 81, -1e-9, X), "negative entry at row 2, column 1"),
    "all zero": (np.zeros((5, 4)), "all zero"),
    "no rows": (np.zeros((0, 4)), "no rows|empty|0"),
    "one axis": (np.ones(5), "1"),
    "three axes": (np.ones((2, 2, 2)), "3"),
    "complex": (X + 1j, "complex"),
    "text": (X.astype(str), "str|<U|text"),
    "objects": (X.astype(object), "object"),
}


SPARSE_TOO = ("NaN", "inf", "minus inf", "negative", "all zero", "complex")


@pytest.mark.parametrize(("what", "kind"), [(w, np.asarray) for w in BAD] + [(w, sp.csr_array) for w in SPARSE_TOO])
def test_bad_data_are_refused_with_their_place_and_no_output(tmp_path, what, kind):
    x, message = BAD[what]
    x = kind(x)
    with pytest.raises(NmfkitError, match=message) as caught:
        nmfkit.fit(x, out=tmp_path / "run.zarr", **QUICK)
    assert caught.value.exit_code in (1, 2)
    assert list(tmp_path.iterdir()) == []


def test_the_first_offending_entry_is_named_whatever_the_threads():
    x = np.tile(X, (500, 1))
    x[20_000, 7] = -1
    x[29_000, 3] = np.nan
    for threads in (1, 2, 5):
        with pytest.raises(DataError, match="row 20000, column 7"):
            nmfkit.fit(x, rank=2, threads=threads)


def test_an_objective_that_leaves_the_range_of_its_dtype_is_an_error():
    x = np.full((6, 5), 1e30, dtype=np.float32)
    with pytest.raises(NmfkitError, match="float64"):
        nmfkit.fit(x, loss="beta:3", rank=2)


@pytest.mark.parametrize(("scale", "dtype"), [(1e-30, "f4"), (1e30, "f4"), (1e-200, "f8"), (1e200, "f8")])
def test_scales_beyond_a_dtype_are_refused(scale, dtype):
    x = ((X + 0.1) * scale).astype(dtype)
    with pytest.raises(DataError, match="multiply the data by a constant"):
        nmfkit.fit(x, rank=2)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
@pytest.mark.parametrize(
    ("loss", "beta"), [("frobenius", 2), ("kl", 1), ("is", 0), ("beta:-1", -1), ("beta:0.5", 0.5), ("beta:3", 3)]
)
def test_a_fit_scales_with_its_data(scale, loss, beta):
    one, other = nmfkit.fit(X + 0.1, loss=loss, **QUICK), nmfkit.fit((X + 0.1) * scale, loss=loss, **QUICK)
    assert other.objective == pytest.approx(one.objective * scale**beta, rel=1e-6)
    np.testing.assert_allclose(other.w @ other.h / scale, one.w @ one.h, rtol=1e-5)


def test_the_objective_of_a_nearly_exact_float32_fit_is_right():
    rng = np.random.default_rng(1)
    x = (rng.random((500, 4)) @ rng.random((4, 60))).astype(np.float32)
    r = nmfkit.fit(x, rank=4, max_sweeps=400, tol=0)
    w, h = r.w.astype(float), r.h.astype(float)
    assert r.objective == pytest.approx(0.5 * np.sum((x - w @ h) ** 2), rel=1e-2)
    late = r.history.objective[200:]
    assert np.diff(late).max() <= 1e-3 * late[0]


def test_components_that_a_penalty_kills_do_not_stay_half_alive():
    x = np.random.default_rng(0).random((80, 60))
    for weight in (20, 1e6):
        penalties = {"reg_w": f"l1:{weight}", "reg_h": f"l1:{weight}"}
        hals, mu = (nmfkit.fit(x, rank=8, rule=rule, **penalties) for rule in ("hals", "mu"))
        assert hals.objective <= 0.5 * np.sum(x**2) * (1 + 1e-9)
        assert hals.objective <= mu.objective * 1.01


def test_rows_of_a_transform_do_not_depend_on_their_neighbours():
    r = nmfkit.fit(COUNTS, loss="kl", rank=4)
    alone = r.transform(COUNTS[:20])
    beside = r.transform(np.vstack([np.full((1, 40), 1e6), COUNTS[:20]]))[1:]
    np.testing.assert_allclose(beside, alone, rtol=1e-12)


def test_cautions_are_warnings_in_python():
    with pytest.warns(nmfkit.Caution, match="rank 50 exceeds the smaller side"):
        nmfkit.fit(X, rank=50, max_sweeps=1)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"threads": "2"}, "threads '2'"),
        ({"threads": 1.5}, "threads 1.5"),
        ({"checkpoint_every": -1}, "checkpoint-every -1"),
        ({"memory": 1.5}, "1.5 is not a size"),
        ({"model_options": [1]}, "not a mapping"),
        ({"rank": True}, "rank True"),
        ({"rank": "3"}, "'3' is not a whole number"),
        ({"rank": 10**12}, "choose a lower rank"),
        ({"w": sp.csr_array(np.ones((60, 4)))}, "no real NumPy array"),
        ({"w": np.ones((60, 4)) + 1j}, "no real NumPy array"),
        ({"w": np.zeros((60, 4))}, "all zero"),
        ({"ranks": [3]}, "rank or ranks, not both"),
        ({"rank": None}, "no rank is given"),
    ],
)
def test_misuse_is_told(options, fault):
    with pytest.raises(UsageError, match=fault):
        nmfkit.fit(X, **{"rank": 4, **options})


def test_an_unwritable_output(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written: .*Not a directory"):
        nmfkit.fit(X, out=tmp_path / "file" / "run.zarr", **QUICK)


def test_objects_of_ones_own_fit_in_memory_but_are_not_stored(tmp_path):
    from nmfkit_plugins.beta.divergence import KullbackLeibler

    r = nmfkit.fit(COUNTS, loss=KullbackLeibler(), **QUICK)
    same(r, nmfkit.fit(COUNTS, loss="kl", **QUICK))
    with pytest.raises(UsageError, match="register them as a plugin"):
        nmfkit.fit(COUNTS, loss=KullbackLeibler(), out=tmp_path / "r.zarr", **QUICK)
    with pytest.raises(StoreError, match="register them as a plugin"):
        r.save(tmp_path / "r.zarr")
