"""A training that is broken off, wherever that is, and gone on with is the one that never stopped, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from clusters import cluster, deadline
from positive import X
from typer.testing import CliRunner

import nmfkit
from nmfkit.cli.app import app
from nmfkit.loop import Watcher

SWEEPS = 5
BATCHES = {"hidden_sizes": "9,6", "batch_size": "16"}
CASES = {
    "best": ("ig-mdsr-nmf", {"rate": "0.009"}),
    "full": ("ig-mdsr-nmf", {"batch_size": "full"}),
    "polish": ("ig-mdsr-rnmf", {"polish": "epoch", "checkpoint": "last"}),
    "closing": ("ig-mdsr-nmf", {"polish": "end"}),
    "authors": ("ig-mdsr-rnmf", {"preset": "authors", "batch_size": "16"}),
    "folded": ("ig-mdsr-nmf", {"preprocess": "zscore-fold", "clip": "3", "checkpoint": "accuracy"}),
}
ALL = pytest.mark.parametrize("case", CASES)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A matrix in memory and in files, dense and sparse, and a long one of which few blocks are in memory."""
    folder = tmp_path_factory.mktemp("data")
    few = np.where(np.median(X) < X, X, 0)
    rng = np.random.default_rng(0)
    long = rng.gamma(0.5, 2.0, (12_000, 5)) @ rng.gamma(0.5, 2.0, (5, 24))
    for name, x in {"zarr": X, "csr": sp.csr_array(few), "streamed": long}.items():
        nmfkit.convert(x, folder / name, chunk_mb=0.25)
    return {"memory": X, **{name: str(folder / name) for name in ("zarr", "csr", "streamed")}}


def fit(stored, place, case, sweeps, **more):
    model, options = CASES[case]
    options = {"hidden_sizes": "9,6", "batch_size": "16", **options}
    if place == "streamed":
        options = {**options, "batch_size": "full" if options["batch_size"] == "full" else "1024"}
        more = {"memory": "2MiB", **more}
    more = {"max_sweeps": sweeps, "tol": 0, "seed": 3, **({} if "scheduler" in more else {"threads": 1}), **more}
    return nmfkit.fit(stored[place], rank=4, model=model, model_options=options, **more)


def leaves(tree, path=""):
    """Every number and array of a state, by its path."""
    if isinstance(tree, dict):
        return {k: v for name, part in tree.items() for k, v in leaves(part, f"{path}/{name}").items()}
    return {path: tree}


def assert_same(on, whole, rtol=0.0):
    """Rows, weights, moments, numbers of steps, epochs and batches, and what preprocessing learnt."""
    np.testing.assert_allclose(on.history.objective, whole.history.objective, rtol=rtol)
    assert list(on.history.sweep) == list(whole.history.sweep)
    assert on.stopped_by == whole.stopped_by
    np.testing.assert_allclose(on.w, whole.w, rtol=100 * rtol, atol=rtol)
    for which in ("current", "following"):
        mine, theirs = (leaves(getattr(result.state, which)) for result in (on, whole))
        assert mine.keys() == theirs.keys()
        for name, value in theirs.items():
            np.testing.assert_allclose(mine[name], value, rtol=100 * rtol, atol=rtol, err_msg=f"{which}{name}")
            assert np.asarray(mine[name]).dtype == np.asarray(value).dtype, f"{which}{name}"
    assert {"/net/u", "/net/v2", "/net/v3", "/net/h", "/adam/count", "/adam/mean/u", "/epoch"} <= theirs.keys()


class Stopping(Watcher):
    """Counts blocks and batches from the first sweep on, and presses Ctrl-C at one of them, or after a sweep."""

    def __init__(self, *, sweep=None, block=None):
        self.at_sweep, self.at_block, self.blocks, self.pools = sweep, block, None, False

    def plan(self, plan, cautions):
        self.pools = not plan.resident and len(plan.bounds) > plan.layout.pool

    def stage(self, name):
        self.blocks = 0 if name == "sweeps" else self.blocks

    def sweep(self, state):
        if state.sweep == self.at_sweep:
            raise KeyboardInterrupt

    def block(self, size):
        if self.blocks is not None:
            self.blocks += 1
            if self.blocks == self.at_block:
                raise KeyboardInterrupt


# --- in this process ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "place"), [("best", "memory"), ("full", "memory"), ("authors", "zarr"), ("folded", "csr")]
)
def test_a_training_that_is_done_goes_on(case, place, stored, tmp_path):
    out, again = tmp_path / "run.zarr", X if place == "memory" else None
    whole = fit(stored, place, case, SWEEPS)
    assert fit(stored, place, case, 2, out=out).history.sweep[-1] == 2
    assert nmfkit.resume(out, again, max_sweeps=3, threads=2).history.sweep[-1] == 3
    assert_same(nmfkit.resume(out, again, max_sweeps=SWEEPS), whole)
    assert_same(nmfkit.load(out), whole)


@ALL
def test_a_training_that_is_interrupted_goes_on(case, stored, tmp_path):
    """Between two sweeps, and after some of the blocks of one, whose batches are drawn from few of them at a time."""
    counting = Stopping()
    whole = fit(stored, "streamed", case, SWEEPS, watcher=counting)
    assert counting.pools
    middle = counting.blocks * 6 // 10
    for number, where in enumerate([{"sweep": 2}, {"block": middle}]):
        out = tmp_path / f"{number}.zarr"
        with pytest.raises(nmfkit.Interrupted):
            fit(stored, "streamed", case, SWEEPS, out=out, watcher=Stopping(**where))
        assert 0 < nmfkit.load(out).history.sweep[-1] < SWEEPS
        assert_same(nmfkit.resume(out, threads=1), whole)


def test_patience_is_counted_on(tmp_path):
    """The fit ends by itself, at the same sweep wherever it was broken off."""
    more = {"model": "ig-mdsr-nmf", "rank": 4, "tol": 0, "seed": 3, "threads": 1}
    more["model_options"] = {"hidden_sizes": "9,6", "rate": "0.5", "patience": "4", "checkpoint": "last"}
    whole = nmfkit.fit(X, max_sweeps=80, **more)
    end = whole.history.sweep[-1]
    assert whole.stopped_by == "patience"
    for sweeps in (1, end - 2, end - 1):
        out = tmp_path / f"{sweeps}.zarr"
        assert nmfkit.fit(X, max_sweeps=sweeps, out=out, **more).stopped_by == "max-sweeps"
        assert_same(nmfkit.resume(out, X, max_sweeps=80), whole)
        assert nmfkit.resume(out, X, max_sweeps=90).history.sweep[-1] == end


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_command_goes_on(dtype, stored, tmp_path):
    out, whole = str(tmp_path / "run.zarr"), fit(stored, "zarr", "best", SWEEPS, dtype=dtype)
    fitting = [
        "fit", stored["zarr"], "--model", "ig-mdsr-nmf", "--rank", "4", "--tol", "0", "--seed", "3", "--out", out,
        "--dtype", dtype, "--model-option", "rate=0.009", "--model-option", "batch_size=16",
        "--model-option", "hidden_sizes=9,6", "--max-sweeps", "2",
    ]  # fmt: skip
    for command in (fitting, ["resume", out, "--max-sweeps", str(SWEEPS)]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    assert_same(nmfkit.load(out), whole)
    assert nmfkit.load(out).h.dtype == dtype


# --- on workers ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workers():
    with cluster(workers=2, processes=False) as client:
        yield client


@pytest.mark.parametrize("case", ["best", "closing"])
def test_a_training_moves_between_here_and_workers(case, workers, stored, tmp_path):
    out, back = tmp_path / "there.zarr", tmp_path / "back.zarr"
    more = {"stored": stored, "place": "streamed", "case": case, "memory": None}
    whole = fit(sweeps=SWEEPS, **more)
    fit(sweeps=2, out=out, **more)
    with deadline():
        assert_same(nmfkit.resume(out, max_sweeps=SWEEPS, scheduler=workers), whole, rtol=1e-6)
        fit(sweeps=2, out=back, scheduler=workers, **more)
    assert_same(nmfkit.resume(back, max_sweeps=SWEEPS, threads=1), whole, rtol=1e-6)


def test_batches_train_on_workers_as_here(workers, stored):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install nmfkit[sklearn]")
    from nmfkit.estimators import IGMDSR

    here, there = (
        IGMDSR(4, hidden_sizes=(9, 6), batch_size=1024, random_state=3, **place)
        for place in ({"threads": 1}, {"scheduler": workers})
    )
    with deadline():
        for _ in range(2):
            here.partial_fit(stored["streamed"])
            there.partial_fit(stored["streamed"])
    np.testing.assert_allclose(there.components_, here.components_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(there.transform(X), here.transform(X), rtol=1e-6, atol=1e-9)
