"""Model `agd`: it recovers components, says where it cannot, and is the same wherever it runs."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from clusters import cluster, deadline
from nmfkit_plugins.agd.decoding import Decoder
from nmfkit_plugins.agd.diagnostics import correlation, correlation_of
from nmfkit_plugins.agd.holdout import held_out
from nmfkit_plugins.agd.recovery import correlation_error
from nmfkit_plugins.agd.start import needed
from nmfkit_plugins.starts.random import Random
from nmfkit_plugins.starts.spa import SPA
from scipy.optimize import nnls

import nmfkit
from nmfkit.blocks import Dense
from nmfkit.errors import Caution, Incompatible, UsageError
from nmfkit.start import Given
from nmfkit.stats import widen
from nmfkit.testing import Chunked
from nmfkit.testing.mixtures import (
    binary_weights,
    correlated_weights,
    dense_components,
    dirichlet_weights,
    logistic_normal_weights,
    signed_components,
    warm_start,
)

RANK, SAMPLES, FEATURES = 20, 1000, 100
H = dense_components(RANK, FEATURES, 0)
W = dirichlet_weights(SAMPLES, RANK, 0)
X = W @ H
WARM = warm_start(H, 0)


def fit(x=X, options=None, **more):
    more = {"rank": RANK, "threads": 1, **more}
    return nmfkit.fit(x, model="agd", model_options=options or {}, **more)


def unit(h):
    return h / np.linalg.norm(h, axis=1, keepdims=True)


def noisy(x, ratio, seed=0):
    """`x` with normal noise, `ratio` times smaller."""
    noise = np.random.default_rng(seed).standard_normal(x.shape)
    return x + noise * np.linalg.norm(x) / np.linalg.norm(noise) / ratio


# --- recovery ------------------------------------------------------------------------------------------------


def test_dense_components_from_a_warm_start():
    assert correlation_error(H, WARM) > 0.5
    assert correlation_error(H, fit(h=WARM, max_sweeps=100, tol=0).h) < 1e-6


def test_dense_components_from_extreme_samples():
    result = fit(max_sweeps=100)
    assert result.problem.init == "spa"
    assert correlation_error(H, result.h) < 1e-6


@pytest.mark.parametrize("start", ["spa", "warm"])
def test_signed_components(start):
    h = signed_components(RANK, FEATURES, 0)
    x = correlated_weights(SAMPLES, RANK, 0) @ h
    result = fit(x, h=warm_start(h, 0) if start == "warm" else None)
    assert correlation_error(h, result.h) < 1e-8
    assert result.w.min() >= 0 > result.h.min()


def test_a_start_with_negative_entries():
    start = warm_start(H, 0, additive=1.5)
    assert start.min() < 0
    assert correlation_error(H, fit(h=start, max_sweeps=60).h) < 1e-3


@pytest.mark.parametrize(
    ("weights", "error"),
    [
        (binary_weights(SAMPLES, RANK, 0, chance=1 / 8), 1e-20),
        (correlated_weights(SAMPLES, RANK, 0), 1e-12),
        (logistic_normal_weights(SAMPLES, RANK, 0), 1e-3),
    ],
    ids=["binary", "correlated", "logistic-normal"],
)
def test_weights_of_other_kinds(weights, error):
    assert correlation_error(H, fit(weights @ H, h=WARM).h) < error


def test_in_float32():
    result = fit(X.astype(np.float32), h=WARM.astype(np.float32), max_sweeps=120, tol=0)
    assert result.h.dtype == result.w.dtype == np.float32
    assert correlation_error(H, result.h) < 1e-6


@pytest.mark.parametrize("weights", [W, logistic_normal_weights(SAMPLES, RANK, 0)], ids=["dirichlet", "normal"])
@pytest.mark.parametrize("ratio", [2.0, 6.0, 30.0])
def test_noise_is_where_the_threshold_ends(weights, ratio):
    x = noisy(weights @ H, ratio)
    with_floor, without = fit(x, h=WARM), fit(x, {"floor": "0"}, h=WARM)
    assert with_floor.stopped_by == "converged"
    assert correlation_error(H, with_floor.h) < 0.3 * correlation_error(H, without.h)


def test_without_noise_the_threshold_goes_on():
    state = fit(h=WARM, tol=0).state
    assert state.following["alpha"] == pytest.approx(state.following["scale"] * 0.3 * 1.1**-201)


def test_a_floor_is_a_fraction_of_the_largest_codes():
    state = fit(options={"floor": "0.05"}, h=WARM, max_sweeps=60, tol=0).state
    assert state.following["alpha"] == 0.05 * state.following["scale"]


@pytest.mark.parametrize("scale", [1e-6, 1e3])
def test_the_scale_of_the_data_does_not_count(scale):
    x = noisy(X, 30.0)
    one, other = (fit(part * x, h=WARM, max_sweeps=30, tol=0) for part in (1.0, scale))
    np.testing.assert_allclose(other.h, one.h, atol=1e-9)
    np.testing.assert_allclose(other.w, scale * one.w, atol=1e-9 * scale * one.w.max())


@pytest.mark.parametrize("ratio", [np.inf, 30.0])
def test_a_component_that_nobody_uses_gives_way_to_a_sample(ratio):
    h = np.hstack([H, np.zeros((RANK, 1))])
    start = np.hstack([WARM, np.zeros((RANK, 1))])
    start[3] = np.eye(1, FEATURES + 1, FEATURES)[0]  # only in a feature that no sample has
    x = np.hstack([noisy(X, ratio), np.zeros((SAMPLES, 1))])
    kept, replaced = (fit(x, {"reseed": n}, h=start, max_sweeps=100) for n in ("0", "4"))
    assert correlation_error(h, kept.h) > 0.5
    assert np.abs(kept.h[:, FEATURES]).max() == 1
    assert correlation_error(h, replaced.h) < (1e-6 if ratio == np.inf else 0.02)


def test_components_that_nothing_calls_for_stay_unused():
    result = fit(rank=RANK + 3, max_sweeps=100)
    assert correlation_error(H, result.h) < 1e-6
    assert result.state.following["patience"].tolist() == [4] * (RANK + 3)


# --- what a stage is -----------------------------------------------------------------------------------------


def by_hand(x, h, stages, official=False):
    """(H, the stage's H, its codes, ½‖X − ZH‖²) after each stage, with explicit steps."""
    lengths = np.linalg.norm(h, axis=1, keepdims=True) if official else 1.0
    h = unit(h)
    alpha = 0.3 * np.median(np.max(x @ np.linalg.pinv(h), axis=1))
    for _ in range(stages):
        alpha /= 1.1
        before, v = h, x @ np.linalg.pinv(h)
        z = np.where(v >= alpha, v, 0)
        value = 0.5 * np.sum((x - z @ h) ** 2)
        scaled, h = z / np.transpose(lengths), h * lengths
        eta = 0.5 / len(h) if official else 1 / np.linalg.eigvalsh(scaled.T @ scaled)[-1]
        for _ in range(50):
            h = h + eta * (scaled.T @ x - scaled.T @ scaled @ h)
        lengths = np.linalg.norm(h, axis=1, keepdims=True) if official else 1.0
        h = unit(h)
        yield h, before, z, value


PLAIN = {"holdout": "0", "floor": "0", "reseed": "0"}


@pytest.mark.parametrize("eta", ["auto", "official"])
def test_stages_are_those_of_the_algorithm(eta):
    sums = H.sum(axis=1, keepdims=True)
    x, start = W @ (H / sums), WARM / sums
    *_, (following, before, z, value) = by_hand(x, start, 12, official=eta == "official")
    result = fit(x, {**PLAIN, "eta": eta}, h=start, max_sweeps=12, tol=0)
    np.testing.assert_allclose(result.state.following["h"], following, atol=1e-9)
    np.testing.assert_allclose(result.h, before, atol=1e-9)
    assert result.history.objective[-2] == pytest.approx(value, rel=1e-7)
    assert result.state.following["moments"]["nonzero"] == np.count_nonzero(z)


def test_the_last_record_is_that_of_the_factors():
    result = fit(noisy(X, 10.0), max_sweeps=10)
    assert result.objective == pytest.approx(0.5 * np.sum((noisy(X, 10.0) - result.w @ result.h) ** 2), rel=1e-9)
    np.testing.assert_allclose(np.linalg.norm(result.h, axis=1), 1)


def test_no_sweep_at_all_is_the_start():
    result = fit(h=WARM, max_sweeps=0)
    np.testing.assert_allclose(result.h, unit(WARM))
    np.testing.assert_allclose(result.w[7], nnls(unit(WARM).T, X[7])[0], atol=1e-8)


def test_a_given_start_costs_no_reads_for_rows_that_nobody_needs():
    given = Given(None, WARM, SPA())
    assert needed(given).h is WARM
    assert needed(given).other == Random()
    assert needed(Given(W, None, SPA())).other == SPA()
    assert needed(SPA()) == SPA()


def test_held_out_samples_take_no_part_in_the_components():
    result = fit(noisy(X, 10.0), h=WARM, max_sweeps=3)
    model, shared = result.model, {**result.state.following, "share": 0.3}
    held = model.local(Dense(X), {}, shared)[1]["held"].samples
    assert 0.28 * SAMPLES < held < 0.32 * SAMPLES
    others = np.where(held_out(Dense(X), 0.3, X), np.random.default_rng(0).random(X.shape), X)
    one, other = (model.local(Dense(x), {}, shared)[1] for x in (X, others))
    np.testing.assert_allclose(other["b"], one["b"], rtol=1e-12)
    np.testing.assert_allclose(other["moments"].gram, one["moments"].gram, rtol=1e-12)
    assert other["held"].total > 10 * one["held"].total


def test_the_stage_that_fits_held_out_samples_is_the_result():
    result = fit(h=H, max_sweeps=0)
    good = {**result.state.following, "alpha": 1e-6}
    spoiled = {**good, **Decoder.of(unit(H + 0.2 * H[::-1] ** 2))._asdict()}
    after_good = staged(result.model, good)
    assert after_good["chosen"]["h"] is good["h"]
    after_both = staged(result.model, {**spoiled, "bar": after_good["bar"], "chosen": after_good["chosen"]})
    np.testing.assert_array_equal(result.model.closing_state(after_both)["h"], good["h"])
    assert staged(result.model, spoiled)["chosen"]["h"] is spoiled["h"]


def staged(model, shared):
    """The state after a stage."""
    return model.apply(shared, widen(model.local(Dense(X), {}, shared)[1]))


# --- where it runs -------------------------------------------------------------------------------------------

MIXED = noisy(X[:300], 20.0)
SMALL = {"rank": RANK, "h": WARM, "max_sweeps": 12, "tol": 0, "options": {"holdout": "0.2", "reseed": "1"}}


def assert_alike(other, one):
    np.testing.assert_allclose(other.history.objective, one.history.objective, rtol=1e-10)
    np.testing.assert_allclose(other.h, one.h, atol=1e-9)
    np.testing.assert_allclose(other.w, one.w, atol=1e-9 * one.w.max())


def test_blocks_and_threads_make_no_difference():
    whole = fit(MIXED, **SMALL)
    for chunks, threads in (([(0, 7), (7, 150), (150, 300)], 1), ([(0, 100), (100, 200), (200, 300)], 2)):
        assert_alike(fit(Chunked(MIXED, chunks), threads=threads, **SMALL), whole)


def test_sparse_data_are_never_made_dense_and_give_the_same():
    x = MIXED * (np.random.default_rng(0).random(MIXED.shape) < 0.3)
    assert_alike(fit(sp.csr_array(x), **SMALL), fit(x, **SMALL))


def test_on_a_cluster_it_is_what_it_is_here(tmp_path):
    nmfkit.convert(MIXED, tmp_path / "x", chunk_mb=0.05)
    with deadline(), cluster(processes=False) as client:
        there = nmfkit.fit(
            tmp_path / "x", model="agd:holdout=0.2,reseed=1", rank=RANK, h=WARM, max_sweeps=12, tol=0, scheduler=client
        )
    assert_alike(there, fit(MIXED, **SMALL))


def test_a_run_tells_how_correlated_its_codes_were(tmp_path):
    result = fit(h=WARM, max_sweeps=40, out=tmp_path / "run.zarr")
    loaded = nmfkit.load(tmp_path / "run.zarr")
    found = correlation_of(loaded.state.following["moments"])
    assert found == correlation_of(result.state.following["moments"])
    exact = correlation(result.w)
    assert found.r == pytest.approx(exact.r, rel=0.1)
    assert found.m == pytest.approx(exact.m, rel=0.2)


# --- codes ---------------------------------------------------------------------------------------------------


def test_codes_of_new_samples_are_those_of_the_fit():
    x = noisy(X, 10.0)
    result = fit(x, max_sweeps=15)
    np.testing.assert_allclose(nmfkit.transform(result, x, threads=1), result.w, atol=1e-9 * result.w.max())
    for i in (0, 500):
        np.testing.assert_allclose(result.w[i], nnls(result.h.T, x[i])[0], atol=1e-7 * result.w.max())


def test_thresholded_codes():
    x = noisy(X, 10.0)
    result = fit(x, {"codes": "threshold"}, h=WARM, max_sweeps=15)
    alpha, v = result.state.current["alpha"], x @ np.linalg.pinv(result.h)
    np.testing.assert_allclose(result.w, np.where(v >= alpha, v, 0), atol=1e-9 * v.max())
    np.testing.assert_allclose(nmfkit.transform(result, x[:50], threads=1), result.w[:50], atol=1e-9 * v.max())


def test_clipped_components_have_codes_of_their_own():
    x = noisy(X, 4.0)
    free, clipped = (fit(x, {"nonneg": n}, h=WARM, max_sweeps=30) for n in ("false", "clip"))
    assert free.h.min() < 0 <= clipped.h.min()
    np.testing.assert_allclose(clipped.h, unit(np.maximum(free.h, 0)), atol=1e-12)
    np.testing.assert_allclose(clipped.w[5], nnls(clipped.h.T, x[5])[0], atol=1e-7 * clipped.w.max())


# --- refusals and cautions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("alpha", "0"),
        ("alpha", "nan"),
        ("decay", "0.9"),
        ("steps", "0"),
        ("eta", "fast"),
        ("floor", "-0.1"),
        ("floor", "low"),
        ("nonneg", "true"),
        ("holdout", "1"),
        ("holdout", "some"),
        ("reseed", "-1"),
        ("codes", "soft"),
    ],
)
def test_options_out_of_range_are_refused(option, wrong):
    with pytest.raises(UsageError, match=rf"{option} must be .*{wrong}"):
        fit(options={option: wrong})


def test_all_faults_are_told_at_once():
    with pytest.raises(UsageError, match=r"alpha must .*decay must .*codes must"):
        fit(options={"alpha": "-1", "decay": "0", "codes": "best"})


def test_it_takes_one_rank_and_neither_loss_nor_rule():
    with pytest.raises(Incompatible, match="one rank, and 2"):
        fit(rank=None, ranks=(4, 2))
    for more in ({"loss": "kl"}, {"rule": "mu"}, {"reg_h": "l1:0.1"}):
        with pytest.raises(Incompatible, match=r"uses no"):
            fit(**more)


def test_the_official_step_is_refused_where_it_diverges():
    x = binary_weights(SAMPLES, RANK, 0) @ H
    with pytest.raises(UsageError, match=r"eigenvalue .* diverges\. Use eta=auto"):
        fit(x, {"eta": "official"}, h=WARM)


def cautions_of(*args, **more):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", Caution)
        fit(*args, max_sweeps=1, **more)
    return [str(w.message) for w in found if issubclass(w.category, Caution)]


@pytest.mark.parametrize("init", ["random", "nndsvd"])
def test_starts_that_fail_are_cautioned_of(init):
    assert any("only from a start that is near them" in told for told in cautions_of(init=init))


def test_few_samples_and_uneven_ones_are_cautioned_of():
    assert cautions_of() == []
    assert any("150 rows are few for 20 components" in told for told in cautions_of(X[:150]))
    told = cautions_of(options={"holdout": "0.9"})
    assert any("about 100 rows, where 0.9 of them are held out, are few for 20" in one for one in told)
    uneven = np.random.default_rng(0).gamma(0.5, 1.0, (SAMPLES, 1)) * X
    assert any("divide each row by its sum" in told for told in cautions_of(uneven))


def test_a_random_start_does_not_recover():
    assert correlation_error(H, fit(init="random", max_sweeps=60).h) > 1
