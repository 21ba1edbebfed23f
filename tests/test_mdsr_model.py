"""Models `ig-mdsr-nmf` and `ig-mdsr-rnmf`: what comes out, how fits go on, and what they reach on digits."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from nmfkit_plugins.mdsr import network_of
from nmfkit_plugins.mdsr.diagnostics import diagnosed
from nmfkit_plugins.mdsr.measure import Rectified, agreements
from sklearn.datasets import load_digits

import nmfkit
from nmfkit.blocks import Dense
from nmfkit.check import resolve
from nmfkit.errors import DataError, UsageError
from nmfkit.lowrank import LowRank
from nmfkit.problem import Problem
from nmfkit.testing import Chunked
from nmfkit.testing.model import after_passes

NMF, RNMF = "ig-mdsr-nmf", "ig-mdsr-rnmf"
both = pytest.mark.parametrize("name", [NMF, RNMF])
DIGITS = load_digits().data / 16
RNG = np.random.default_rng(4)
X = RNG.gamma(1.0, size=(70, 3)) @ RNG.gamma(1.0, size=(3, 9)) / 4
SIGNED = X - X.mean(axis=0)


def fitted(name=NMF, x=X, rank=3, sweeps=4, seed=0, **options):
    machine = {key: options.pop(key) for key in ("out", "dtype", "tol") if key in options}
    machine = {"tol": 0, "threads": 1} | machine
    return nmfkit.fit(x, model=name, rank=rank, model_options=options, max_sweeps=sweeps, seed=seed, **machine)


def made(name=NMF, rank=3, **options):
    return resolve(Problem(model=name, ranks=(rank,), model_options={k: str(v) for k, v in options.items()})).model


def error_of(run, x, relu=False):
    y = run.w @ run.h
    return np.linalg.norm(x - (np.maximum(y, 0) if relu else y)) / np.linalg.norm(x)


def folded(x):
    deviation = x.std(axis=0)
    z = np.divide(x - x.mean(axis=0), deviation, out=np.zeros_like(x), where=deviation > 0)
    return np.hstack([np.maximum(z, 0), np.maximum(-z, 0)])


# --- data ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["default", "authors"])
def test_negative_entries_are_refused_where_the_product_has_none(preset):
    with pytest.raises(DataError, match="negative"):
        fitted(NMF, SIGNED, preset=preset)
    if preset == "authors":
        with pytest.raises(DataError, match="use output=linear, or preprocess=zscore-fold"):
            fitted(RNMF, SIGNED, preset=preset)
    assert fitted(RNMF, SIGNED, preset=preset, output="linear").objective > 0
    assert fitted(NMF, SIGNED, preset=preset, preprocess="zscore-fold").objective > 0


# --- what comes out -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sweeps", [0, 1, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": "full"},
        {"preset": "authors"},
        {"start": "glorot"},
        {"polish": "epoch"},
        {"preprocess": "zscore-fold", "polish": "end"},
    ],
    ids=str,
)
def test_codes_lie_between_0_and_1_and_components_are_not_negative(options, sweeps):
    run = fitted(sweeps=sweeps, **options)
    assert ((run.w > 0) & (run.w < 1)).all()
    assert (run.h >= 0).all()
    for state in (run.state.current, run.state.following):
        assert (state["net"]["h"] >= 0).all()


@pytest.mark.parametrize("output", ["linear", "relu"])
def test_a_relaxed_fit_has_components_of_either_sign(output):
    run = fitted(RNMF, DIGITS, rank=6, output=output)
    assert (run.h < 0).any()
    assert ((run.w > 0) & (run.w < 1)).all()


@both
@pytest.mark.parametrize("output", ["linear", "relu"])
@pytest.mark.parametrize("preprocess", ["none", "zscore-fold"])
@pytest.mark.parametrize("others", [{}, {"batch_size": "full"}, {"checkpoint": "last"}, {"checkpoint": "accuracy"}])
def test_the_objective_is_that_of_what_comes_out(name, output, preprocess, others):
    run = fitted(name, output=output, preprocess=preprocess, **others)
    y = X if preprocess == "none" else folded(X)
    product = run.w @ run.h
    product = np.maximum(product, 0) if output == "relu" else product
    assert run.h.shape == (3, y.shape[1])
    assert run.objective == pytest.approx(0.5 * np.sum((y - product) ** 2), rel=1e-9)
    assert run.model.measure().value(Dense(y), LowRank(run.w, run.h)) == pytest.approx(run.objective, rel=1e-9)


def test_the_record_before_the_first_epoch_is_that_of_the_start():
    run = fitted(sweeps=0)
    np.testing.assert_allclose((run.w @ run.h).mean(axis=0), X.mean(axis=0), rtol=1e-9)
    assert len(fitted(sweeps=3).history) == 4


@both
def test_rows_are_restored_in_the_units_of_the_data(name):
    run = fitted(name, SIGNED, rank=9, sweeps=150, preprocess="zscore-fold", rate=0.01)
    restored = run.model.restored(run.w, run.state.current)
    assert restored.shape == SIGNED.shape
    assert np.linalg.norm(restored - SIGNED) < 0.3 * np.linalg.norm(SIGNED)
    relu = made(RNMF, output="relu")
    cut = relu.restored(np.ones((1, 2)), {"net": {"h": np.array([[1.0, -3.0], [1.0, 1.0]])}, "view": {}})
    assert cut.tolist() == [[2.0, 0.0]]
    assert run.model.columns(["a", "b"]) == ["a high", "b high", "a low", "b low"]


@both
def test_new_rows_take_one_pass_through_the_encoder(name):
    run = fitted(name, preprocess="zscore-fold")
    np.testing.assert_allclose(nmfkit.transform(run, X, threads=1), run.w, rtol=1e-9)
    np.testing.assert_allclose(nmfkit.transform(run, sp.csr_array(X[:5]), threads=1), run.w[:5], rtol=1e-9)


def test_a_network_is_what_makes_the_codes():
    net, run = {}, fitted(hidden_sizes="6,4")
    net = network_of(run)
    assert {k: v.shape for k, v in net.items()} == {
        "u1": (9, 6), "u2": (9, 4), "u3": (9, 3), "v2": (6, 4), "v3": (4, 3), "h": (3, 9),
    }  # fmt: skip
    layer = 1 / (1 + np.exp(-X @ net["u1"]))
    for i in (2, 3):
        layer = 1 / (1 + np.exp(-X @ net[f"u{i}"] - layer @ net[f"v{i}"]))
    np.testing.assert_allclose(layer, run.w, rtol=1e-10)
    with pytest.raises(UsageError, match="has no network"):
        network_of(nmfkit.fit(X, rank=2, max_sweeps=1, threads=1))


# --- the same everywhere ------------------------------------------------------------------------------------


@both
def test_a_resumed_fit_is_the_uninterrupted_one(name, tmp_path):
    options = {"preprocess": "zscore-fold", "polish": "end", "patience": 9}
    fitted(name, sweeps=2, out=tmp_path / "run.zarr", **options)
    on = nmfkit.resume(tmp_path / "run.zarr", X, max_sweeps=5, threads=1)
    whole = fitted(name, sweeps=5, **options)
    assert on.history.objective.tolist() == whole.history.objective.tolist()
    np.testing.assert_array_equal(on.h, whole.h)
    np.testing.assert_array_equal(on.w, whole.w)


@given(st.sampled_from([NMF, RNMF]), st.sampled_from(["none", "zscore-fold"]), st.booleans())
def test_blocks_and_threads_change_nothing(name, preprocess, is_sparse):
    whole = fitted(name, batch_size=8, preprocess=preprocess, sweeps=2)
    parts = Chunked(X, [(0, 20), (20, 21), (21, 70)], is_sparse=is_sparse)
    other = nmfkit.fit(
        parts, model=name, rank=3, model_options={"batch_size": 8, "preprocess": preprocess}, max_sweeps=2, tol=0,
        threads=2,
    )  # fmt: skip
    np.testing.assert_allclose(other.history.objective, whole.history.objective, rtol=1e-9)
    np.testing.assert_allclose(other.h, whole.h, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"output": "relu", "start": "glorot"}, {"preprocess": "zscore-fold"}])
@pytest.mark.parametrize("name", [NMF, RNMF])
def test_a_multiple_of_the_data_has_the_same_embedding(name, options):
    one, other = fitted(name, **options), fitted(name, x=1000 * X, **options)
    same = "preprocess" in options
    np.testing.assert_allclose(other.w, one.w, rtol=1e-7)
    np.testing.assert_allclose(other.h, one.h if same else 1000 * one.h, rtol=1e-6, atol=1e-9 * np.abs(other.h).max())


def test_in_units_of_their_own_data_of_large_entries_saturate_the_codes():
    by_itself, authors = fitted(x=1000 * X, sweeps=4), fitted(x=1000 * X, sweeps=4, unit=1)
    assert by_itself.objective < 0.9 * authors.objective


def test_many_columns_do_not_make_steps_of_the_encoder_too_long(monkeypatch):
    rng = np.random.default_rng(5)
    x = rng.gamma(0.3, 1, (512, 4)) @ rng.gamma(0.5, 1, (4, 2000))
    quick = {"rate": 0.01, "hidden_sizes": "8", "sweeps": 20}
    paced = fitted(x=x, rank=4, **quick)
    monkeypatch.setattr("nmfkit_plugins.mdsr.options.MOVE", np.inf)
    unpaced = fitted(x=x, rank=4, **quick)
    assert error_of(paced, x) < 0.8 * error_of(unpaced, x)


def test_seeds_differ_in_start_and_order():
    one, two = fitted(seed=1), fitted(seed=2)
    assert (one.h != two.h).all()
    np.testing.assert_array_equal(one.h, fitted(seed=1).h)


# --- which epoch counts -------------------------------------------------------------------------------------


def test_checkpoints_return_the_epoch_that_they_say():
    rough = {"rate": 0.5, "sweeps": 4, "hidden_sizes": "6,4"}  # a rate at which the loss jumps about
    last, best = fitted(checkpoint="last", **rough), fitted(checkpoint="best", **rough)
    losses = last.history.objective
    assert losses.argmin() < len(losses) - 1, "else this test says nothing"
    np.testing.assert_array_equal(best.history.objective, np.minimum.accumulate(losses))
    assert last.objective == losses[-1]
    # With a closing sweep, there is an epoch less.
    polished = fitted(checkpoint="best", polish="end", **{**rough, "sweeps": 5})
    assert polished.objective < losses.min()
    np.testing.assert_allclose(polished.w, best.w, rtol=1e-12)


def test_accuracy_counts_rows_whose_largest_entry_is_found():
    x, w = np.array([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0], [1.0, 1.0, 0.0]]), np.eye(3)
    h = np.array([[0.0, 1.0, 0.9], [-1.0, -2.0, -3.0], [0.5, 0.1, 9.0]])
    assert agreements(Dense(x), w, h, "linear") == 2
    assert agreements(Dense(x), w, h[[0, 0, 0]], "relu") == 1
    assert agreements(Dense(x[1:2]), w[1:2], h, "relu") == 1, "the first of several"
    tall = RNG.random((5000, 90))
    assert agreements(Dense(tall), tall, np.eye(90), "linear") == 5000

    options = {"batch_size": 16, "hidden_sizes": "6,4", "sweeps": 9}
    shares = []
    for sweeps in range(1, 9):
        run = fitted(checkpoint="last", **{**options, "sweeps": sweeps})
        shares.append((agreements(Dense(X), run.w, run.h, "linear"), -sweeps, run))
    chosen = fitted(checkpoint="accuracy", **options)
    np.testing.assert_allclose(chosen.h, max(shares, key=lambda share: share[:2])[2].h, rtol=1e-12)


@both
@pytest.mark.parametrize("batch_size", ["8", "full"])
def test_a_polish_makes_the_fit_closer(name, batch_size):
    plain = fitted(name, checkpoint="last", batch_size=batch_size, sweeps=3)
    end = fitted(name, checkpoint="last", batch_size=batch_size, sweeps=4, polish="end")
    np.testing.assert_allclose(end.w, plain.w, rtol=1e-12)
    assert end.objective < 0.999 * plain.objective
    epoch = fitted(name, checkpoint="last", batch_size=batch_size, sweeps=4, polish="epoch")
    assert epoch.objective < 0.999 * plain.objective
    if name == RNMF:
        exact = np.linalg.lstsq(end.w, X)[0]
        np.testing.assert_allclose(end.h, exact, rtol=1e-5, atol=1e-8)


def test_patience_ends_a_fit_whose_batches_get_no_better():
    run = fitted(patience=3, rate=0.3, sweeps=200)
    assert run.stopped_by == "patience"
    assert 3 < len(run.history) < 150
    assert fitted(rate=0.3, sweeps=20).stopped_by == "max-sweeps"
    still = fitted(patience=2, rate=1e-15, batch_size="full", sweeps=50)
    assert (still.stopped_by, len(still.history)) == ("patience", 3), "the first step, and two that are no better"


# --- going on -----------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("options", [{}, {"polish": "end"}, {"preprocess": "zscore-fold", "batch_size": "full"}])
def test_a_fit_goes_on_from_the_network_of_a_run(name, options, tmp_path):
    first = fitted(name, sweeps=5, hidden_sizes="6,4", out=tmp_path / "run.zarr", **options)
    on = fitted(name, sweeps=5, hidden_sizes="6,4", trained=tmp_path / "run.zarr", **options)
    assert on.history.objective[0] == pytest.approx(first.objective, rel=1e-12)
    assert on.objective < first.objective
    steps = [run.state.following["adam"]["count"] for run in (first, on)]
    assert steps[1] > steps[0] > 0


def test_a_network_of_another_kind_is_refused(tmp_path):
    run = tmp_path / "run.zarr"
    fitted(hidden_sizes="6,4", out=run)
    for name, changes, said in (
        (RNMF, {}, "a fit of ig-mdsr-nmf, and this is one of ig-mdsr-rnmf"),
        (NMF, {"hidden_sizes": "5,4"}, "6, 4, 3 units, not 5, 4, 3"),
        (NMF, {"rank": 2}, "6, 4, 3 units, not 6, 4, 2"),
        (NMF, {"x": X[:, :7]}, "factorizes 9 columns, not 7"),
        (NMF, {"preprocess": "zscore-fold"}, "preprocess=none, not preprocess=zscore-fold"),
    ):
        with pytest.raises(UsageError, match=said):
            fitted(name, trained=run, **{"hidden_sizes": "6,4", **changes})
    nmfkit.fit(X, rank=2, max_sweeps=1, threads=1, out=tmp_path / "other.zarr")
    with pytest.raises(UsageError, match="has no network"):
        fitted(trained=tmp_path / "other.zarr")


@pytest.mark.parametrize("sweeps", [0, 3])
def test_it_goes_on_with_other_data(sweeps):
    run = fitted(sweeps=sweeps, batch_size=8, preprocess="zscore-fold")
    model, before = run.model, run.state.following
    some = Dense(RNG.gamma(1.0, size=(20, 9)))
    onward = model.onto(before, 20)
    assert (onward["rows"], onward["batch"], onward["epoch"]) == (20, 0, max(1, before["epoch"]))
    rows, after = after_passes(model, some, {"w": np.zeros((20, 3))}, onward)
    assert after["adam"]["count"] == before["adam"]["count"] + 3, "one step a batch, the last one of four rows"
    np.testing.assert_array_equal(after["view"]["mean"], before["view"]["mean"])
    following = model.apply(after, model.local(some, rows, after)[1])
    again = after_passes(model, some, rows, model.onto(following, 20))[1]
    assert again["epoch"] == onward["epoch"] + 1
    assert (again["net"]["h"] != after["net"]["h"]).any()


# --- what to look at ----------------------------------------------------------------------------------------


def test_dead_outputs_and_saturated_codes_are_found():
    x = X.copy()
    x[:, 4] = 0
    run = fitted(x=x)
    found = diagnosed(run)
    assert found.dead.tolist() == [4]
    assert found.loss == pytest.approx(np.mean((x - run.w @ run.h) ** 2), rel=1e-9)
    assert found.mean == pytest.approx(run.w.mean())
    wide = fitted(x=1000 * X, sweeps=0, unit=1)
    saturated = diagnosed(wide)
    assert saturated.below == pytest.approx(np.mean(wide.w < 0.01))
    assert saturated.above == pytest.approx(np.mean(wide.w > 0.99))
    assert saturated.below + saturated.above > 0.3 > found.below + found.above
    assert any("1 output is dead: e" in said for said in found.sentences("abcdefghi"))
    relu = fitted(RNMF, DIGITS, rank=16, preset="authors", checkpoint="last", sweeps=2)
    product = relu.w @ relu.h
    assert diagnosed(relu).dead.tolist() == np.flatnonzero((product <= 0).all(axis=0)).tolist()
    assert len(diagnosed(relu).dead) > 5
    with pytest.raises(UsageError, match="only runs of model"):
        diagnosed(nmfkit.fit(X, rank=2, max_sweeps=1, threads=1))


def test_a_product_cut_off_is_judged_as_it_is_shown():
    y, x = LowRank(np.array([[1.0], [1.0]]), np.array([[2.0, -3.0]])), Dense(np.array([[1.0, 1.0], [2.0, 0.0]]))
    assert Rectified().value(x, y) == 0.5 * (1 + 1)
    assert Rectified().offset(x) == 0.5 * 6
    assert Rectified().fitted(y).tolist() == [[2.0, 0.0], [2.0, 0.0]]


# --- what they reach ----------------------------------------------------------------------------------------


def test_the_scaled_start_does_not_collapse_where_glorots_does():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 4)) @ rng.standard_normal((4, 400)) + 0.3 * rng.standard_normal((40, 400))
    runs = [
        fitted(x=x, rank=120, sweeps=20, preset="authors", preprocess="zscore-fold", checkpoint="last", start=start)
        for start in ("glorot", "scaled")
    ]
    losses = [2 * run.objective / (40 * 800) for run in runs]  # of 0.5, the mean square of folded z-scores
    assert runs[0].stopped_by == "patience"
    assert len(runs[0].history) < 13
    assert losses[0] > 0.33
    assert runs[1].stopped_by == "max-sweeps"
    assert losses[1] < 0.2


@pytest.mark.parametrize(("name", "most"), [(NMF, 0.35), (RNMF, 0.295)])
def test_digits_are_learnt(name, most):
    run = fitted(name, DIGITS, rank=16, sweeps=20)
    assert run.state.current["net"]["u"].shape == (64, 48 + 32 + 16)
    assert error_of(run, DIGITS) < most
    assert error_of(fitted(name, DIGITS, rank=16, sweeps=20, dtype="float32"), DIGITS) < most


@pytest.mark.slow
@pytest.mark.parametrize(("name", "error", "kept"), [(NMF, 0.29, 0.994), (RNMF, 0.23, 0.997)])
def test_digits_after_200_epochs(name, error, kept):
    from sklearn.manifold import trustworthiness

    for seed in range(3):
        run = fitted(name, DIGITS, rank=16, sweeps=200, seed=seed)
        assert error_of(run, DIGITS) <= error
        assert trustworthiness(DIGITS, run.w) >= kept
