"""Whole fits on a real device: the objectives of processors, within budgets, on workers, from the command line."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from on_gpu import MARKS

import nmfkit
from nmfkit.executors.plan import parse_size

pytestmark = MARKS
workloads, gpu_fits = map(importlib.import_module, ("workloads", "gpu_fits"))

SCALE = 0.2
WITHIN = {"float64": 1e-7, "float32": 2e-3}
"""Relative distance of objectives after the same sweeps: what rounding has grown to by then."""
FIT = {"pilot": "none", "tol": 0, "seed": 1}


@pytest.fixture(autouse=True)
def unbounded(gpu):
    """No budget of one test bounds the next one."""
    yield
    pool = gpu.get_default_memory_pool()
    pool.set_limit(size=0)
    pool.free_all_blocks()


def on_both(x, **options):
    return [nmfkit.fit(x, **{**FIT, **options, **place}) for place in ({"device": "gpu"}, {})]


def assert_agree(there, here, within):
    np.testing.assert_allclose(there.history.objective, here.history.objective, rtol=within)
    for name, factor in there.factors.items():
        assert type(factor) is np.ndarray
        assert factor.dtype == here.factors[name].dtype


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["W1", "W2", "W3", "W4", "W5"])
def test_workloads_end_where_processors_end(name, dtype):
    work = workloads.make(name, dtype=dtype, scale=SCALE)
    given = {"w": work.w, "h": work.h, "loss": work.loss, "rank": work.rank, "dtype": dtype, "max_sweeps": 15}
    there, here = on_both(work.x, **given)
    assert_agree(there, here, WITHIN[dtype])
    judged = workloads.objective(work.x, there.w, there.h, work.beta)
    assert there.objective == pytest.approx(judged, rel=WITHIN[dtype])


def test_a_fit_repeats_bit_for_bit():
    work = workloads.make("W4", dtype="float32", scale=SCALE)
    first, again = (nmfkit.fit(work.x, loss="kl", rank=20, device="gpu", max_sweeps=8, **FIT) for _ in range(2))
    assert first.history.objective.tolist() == again.history.objective.tolist()
    for name, factor in first.factors.items():
        assert factor.tobytes() == again.factors[name].tobytes()


# --- out of core --------------------------------------------------------------------------------------------------

ROWS, COLUMNS, CHUNK = 80 * 4096, 2048, 4096
"""2.5 GiB in float32."""


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A matrix in a store, of rolled blocks of small whole numbers, which compress fast; and all of it in memory."""
    path = str(tmp_path_factory.mktemp("stored") / "x.zarr")
    rng = np.random.default_rng(0)
    w, h = rng.gamma(0.5, 2.0, (CHUNK, 8)), rng.gamma(0.5, 2.0, (8, COLUMNS))
    block = np.minimum(rng.poisson(w @ h), 255).astype(np.float32)
    group = zarr.create_group(path)
    there = group.create_array("X", shape=(ROWS, COLUMNS), chunks=(CHUNK, COLUMNS), dtype="float32")
    whole = np.empty((ROWS, COLUMNS), np.float32)

    def write(i):
        rows = slice(i * CHUNK, (i + 1) * CHUNK)
        whole[rows] = np.roll(block, 37 * i, axis=0)
        there[rows] = whole[rows]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(ROWS // CHUNK)))
    return path + "/X", whole


@pytest.mark.parametrize("loss", ["frobenius", "kl"])
def test_a_matrix_larger_than_the_budgets_is_fitted_within_them(stored, loss, gpu):
    path, whole = stored
    given = {"loss": loss, "rank": 16, "max_sweeps": 3, "device": "gpu", **FIT}
    nmfkit.fit(whole[:CHUNK], **given)  # what comes once with the first fit is no matter of budgets
    gpu.get_default_memory_pool().free_all_blocks()
    budgets = {"device_memory": "640MiB", "memory": "1GiB"}
    assert parse_size(budgets["memory"]) < whole.nbytes / 2
    with gpu_fits.Peaks(SimpleNamespace(xp=gpu)) as peaks:
        out_of_core = nmfkit.fit(path, **given, **budgets)
    assert 0 < peaks.gpu <= parse_size(budgets["device_memory"])
    assert 0 < peaks.host <= parse_size(budgets["memory"])
    gpu.get_default_memory_pool().set_limit(size=0)
    assert_agree(out_of_core, nmfkit.fit(whole, **given), 1e-4)


# --- other doors --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    return load_digits().data.astype(np.float64)


def test_runs_resume_on_either_side(digits, tmp_path):
    given = {"loss": "kl", "rank": 8, **FIT}
    whole = nmfkit.fit(digits, max_sweeps=12, device="gpu", **given)
    out = str(tmp_path / "run")
    nmfkit.fit(digits, max_sweeps=5, device="gpu", out=out, **given)
    resumed = nmfkit.resume(out, digits, max_sweeps=12, device="gpu")
    assert_agree(resumed, whole, 1e-12)
    other = nmfkit.resume(out, digits, max_sweeps=15)
    np.testing.assert_allclose(other.history.objective[:13], whole.history.objective, rtol=1e-9)


def test_transform_and_score_agree(digits):
    there, _ = on_both(digits, loss="kl", rank=8, max_sweeps=30)
    w, other = (nmfkit.transform(there, digits[:300], **place) for place in ({"device": "gpu"}, {}))
    np.testing.assert_allclose(w @ there.h, other @ there.h, rtol=1e-5, atol=1e-5 * float(np.max(digits)))


def test_a_worker_with_a_gpu_gives_the_same(digits):
    given = {"loss": "kl", "rank": 8, "max_sweeps": 10, "device": "gpu", **FIT}
    there = nmfkit.fit(digits, workers=1, threads_per_worker=2, **given)
    assert_agree(there, nmfkit.fit(digits, **given), 1e-9)


def command(*arguments, **options):
    return [sys.executable, "-m", "nmfkit", *map(str, arguments)], {"capture_output": True, "text": True, **options}


def test_the_command_fits_on_a_gpu(tmp_path):
    run = tmp_path / "run"
    asked, how = command("fit", "sample:digits", "--rank", 10, "--device", "gpu", "--max-sweeps", 20, "-o", run)
    done = subprocess.run(asked, **how, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    here = nmfkit.fit("sample:digits", rank=10, max_sweeps=20)
    assert nmfkit.load(str(run)).objective == pytest.approx(here.objective, rel=1e-6)


def test_what_a_fit_will_need_is_told(tmp_path):
    asked, how = command("explain", "sample:digits", "--rank", 10, "--device", "gpu")
    done = subprocess.run(asked, **how, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "gpu" in done.stdout.lower()


@pytest.mark.parametrize("more", [[], ["--workers", "1"]], ids=["here", "worker"])
def test_an_interrupted_run_can_be_resumed(tmp_path, more):
    run = tmp_path / "run"
    endless = ["--max-sweeps", 1_000_000, "--tol", 0, "--checkpoint-every", 5]
    asked, _ = command("fit", "sample:digits", "--rank", 10, "--device", "gpu", *endless, *more, "-o", run)
    process = subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        begun = time.monotonic()
        while swept(run) < 5 and process.poll() is None and time.monotonic() < begun + 150:
            time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        told = process.communicate(timeout=100)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, told
    done = swept(run)
    assert done >= 5
    resumed = nmfkit.resume(str(run), max_sweeps=done + 5, device="gpu")
    assert len(resumed.history.objective) == done + 6


def swept(run):
    """Sweeps in the last checkpoint, 0 before there is one."""
    try:
        return len(nmfkit.load(str(run)).history.objective) - 1
    except (nmfkit.NmfkitError, OSError, KeyError, json.JSONDecodeError):
        return 0
