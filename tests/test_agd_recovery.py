"""Components are recovered where factorizations from the same start end elsewhere; and where not, it is known."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import scipy.sparse as sp
from nmfkit_plugins.agd.recovery import correlation_error, matched_error
from oracles import agd as oracle

import nmfkit
from nmfkit import kernels
from nmfkit.errors import DataError
from nmfkit.sources import open_source
from nmfkit.testing import mixtures as mx

FEATURES = 100
COMPONENTS = {
    "dense": mx.dense_components,
    "signed": mx.signed_components,
    "smoothed": lambda *size: mx.smoothed(mx.sparse_components(*size)),
}
WEIGHTS = {"dirichlet": mx.dirichlet_weights, "correlated": mx.correlated_weights}
PLAIN = {"holdout": "0", "floor": "0", "codes": "threshold"}
"""The algorithm of the paper: all samples, a threshold that goes to zero, codes as it has them."""


def mixture(components, weights, rank=20, samples=None, features=FEATURES, seed=0):
    """Data, the components behind them, and those that a fit may start from."""
    h = COMPONENTS[components](rank, features, seed)
    x = WEIGHTS[weights](samples or 50 * rank, rank, seed) @ h
    return x, h, mx.warm_start(h, seed)


def recovered(x, rank, stages=100, options=None, **given):
    """The components that the model finds."""
    return nmfkit.fit(x, model="agd", rank=rank, max_sweeps=stages, tol=0, model_options=options, **given).h


def factorized(x, start, rule):
    """The H of a plain factorization from the same start, negative entries left out, and its codes."""
    w = kernels.nnls(start @ start.T, x @ start.T)
    least = 1e-9 if rule == "mu" else 0.0
    begin = {"w": np.maximum(w, least), "h": np.maximum(start, least)}
    return nmfkit.fit(x, rank=len(start), rule=rule, max_sweeps=100, tol=0, **begin).h


# --- the algorithm ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("components", COMPONENTS)
def test_stages_are_those_of_the_paper(components, weights):
    x, _, start = mixture(components, weights, rank=6, features=30)
    expected = list(islice(oracle.stages(x, start), 25))
    for stages in (1, 2, 3, 9, 25):
        result = nmfkit.fit(x, model="agd", rank=6, h=start, max_sweeps=stages, tol=0, model_options=PLAIN)
        h, z, _ = expected[stages - 1]
        np.testing.assert_allclose(result.h, h, atol=1e-10)
        np.testing.assert_allclose(result.w, z, atol=1e-8 * z.max())
        objectives = [objective for *_, objective in expected[:stages]]
        np.testing.assert_allclose(result.history.objective[:stages], objectives, rtol=1e-6, atol=1e-9 * (x**2).sum())


def test_a_soft_threshold_recovers_worse():
    x, h, start = mixture("dense", "dirichlet", features=50)
    hard, soft = (
        oracle.correlation_error(oracle.fitted(x, start, 40, decode=decode), h)
        for decode in (oracle.decoded, oracle.soft)
    )
    assert soft > 10 * hard


@pytest.mark.parametrize("factor", [1e-3, 1e4])
def test_the_scale_of_the_data_does_not_matter(factor):
    x, h, start = mixture("signed", "dirichlet", rank=8, features=40)
    one, other = (recovered(data, 8, 40, h=begin) for data, begin in ((x, start), (factor * x, factor * start)))
    assert correlation_error(h, one) < 0.01
    np.testing.assert_allclose(other, one, atol=1e-9)


# --- recovery -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("components", COMPONENTS)
def test_components_are_recovered(components, weights):
    x, h, start = mixture(components, weights)
    assert correlation_error(h, start) > 0.5
    assert correlation_error(h, recovered(x, 20, h=start)) < 1e-6


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("rule", ["hals", "mu"])
@pytest.mark.parametrize("components", ["dense", "smoothed"])
def test_factorizations_from_the_same_start_end_elsewhere(components, weights, rule):
    x, h, start = mixture(components, weights)
    assert correlation_error(h, factorized(x, start, rule)) > 1e-2


def test_of_signed_features_there_is_no_factorization():
    x, _, _ = mixture("signed", "dirichlet")
    with pytest.raises(DataError, match="negative entry"):
        nmfkit.fit(x, rank=20)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("components", ["dense", "signed"])
def test_recovery_of_forty(components, weights):
    x, h, start = mixture(components, weights, rank=40, features=300)
    assert correlation_error(h, recovered(x, 40, 150, h=start)) < 1e-8
    for rule in ("hals", "mu") if components != "signed" else ():
        assert correlation_error(h, factorized(x, start, rule)) > 1e-2


@pytest.mark.parametrize(("components", "init"), [("dense", "auto"), ("signed", "auto"), ("smoothed", "spa")])
def test_extreme_samples_are_start_enough(components, init):
    x, h, _ = mixture(components, "dirichlet")
    found = recovered(x, 20, init=init)
    assert correlation_error(h, found) < 1e-6
    assert matched_error(h, found) < 1e-7


def test_extreme_samples_are_start_enough_for_forty():
    x, h, _ = mixture("dense", "dirichlet", rank=40, features=300)
    assert correlation_error(h, recovered(x, 40, 150)) < 1e-6


def test_a_short_fit_is_start_enough_where_zeros_tell():
    h = mx.sparse_components(20, FEATURES, 0)
    x = mx.dirichlet_weights(1000, 20, 0) @ h
    assert correlation_error(h, recovered(x, 20, init="hals:30")) < 1e-6


def test_random_components_are_no_start():
    x, h, _ = mixture("dense", "dirichlet")
    with pytest.warns(nmfkit.errors.Caution, match="init spa"):
        found = recovered(x, 20, init="random")
    assert correlation_error(h, found) > 1


def test_where_zeros_tell_hals_is_as_good():
    h = mx.sparse_components(20, FEATURES, 0)
    x, start = mx.dirichlet_weights(1000, 20, 0) @ h, mx.warm_start(h, 0)
    assert correlation_error(h, factorized(x, start, "hals")) < 1e-6
    assert correlation_error(h, recovered(x, 20, h=start)) < 1e-6


@pytest.mark.parametrize("kind", ["float32", "sparse", "sparse float32"])
def test_any_kind_of_data(kind):
    h = mx.sparse_components(20, FEATURES, 0)
    x, start = mx.dirichlet_weights(1000, 20, 0) @ h, mx.warm_start(h, 0)
    dtype = np.float32 if "float32" in kind else np.float64
    data = sp.csr_array(x.astype(dtype)) if "sparse" in kind else x.astype(dtype)
    found = recovered(data, 20, h=start.astype(dtype))
    assert found.dtype == dtype
    assert correlation_error(h, found) < 1e-6


# --- limits -------------------------------------------------------------------------------------------------


def test_ten_samples_a_component_are_enough():
    errors = []
    for samples in (40, 80, 200, 400):
        x, h, start = mixture("dense", "dirichlet", samples=samples)
        errors.append(correlation_error(h, recovered(x, 20, h=start)))
    assert errors[2] < 1e-2
    assert errors[3] < 1e-5
    assert errors[0] > errors[2] > errors[3]


@pytest.mark.parametrize("init", ["spa", "hals:5", None])
@pytest.mark.parametrize("samples", [1, 5, 20, 25])
def test_too_few_samples_give_factors_all_the_same(samples, init):
    x, _, start = mixture("dense", "dirichlet", samples=samples)
    given = {"h": start} if init is None else {"init": init}
    with pytest.warns(nmfkit.errors.Caution):
        result = nmfkit.fit(x, model="agd", rank=20, max_sweeps=20, **given)
    assert np.isfinite(result.h).all()
    assert np.isfinite(result.w).all()
    assert (result.w >= 0).all()


@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_a_floor_helps_against_noise(noise):
    h = mx.sparse_components(20, FEATURES, 0)
    h = h / h.sum(axis=1, keepdims=True)
    x = mx.dirichlet_weights(1000, 20, 0) @ h
    noisy = mx.with_noise(x, 1, noise=noise)
    assert np.linalg.norm(x) < 10 * np.linalg.norm(noisy - x)
    start = mx.warm_start(h, 0)
    without, floored = (
        correlation_error(h, recovered(noisy, 20, 80, {"holdout": "0", "floor": floor}, h=start))
        for floor in ("0", "auto")
    )
    assert floored < 0.5 * without


# --- topics -------------------------------------------------------------------------------------------------


def topics(path, key, rank, words, sweeps):
    """Topics (rank, words) of the most frequent words of a collection, each summing to 1, by a KL fit."""
    source = open_source(path, key=key, dtype="float64")
    block = source.read(0, source.shape[0])
    counts = sp.csr_array((block.values, block.indices, block.indptr), shape=source.shape)
    frequent = np.sort(np.argsort(-counts.sum(axis=0), kind="stable")[:words])
    counts = counts[:, frequent]
    counts = counts[counts.sum(axis=1) > 0]
    result = nmfkit.fit(counts, rank=rank, loss="kl", rule="mu", seed=0, max_sweeps=sweeps, pilot="none")
    return result.h / result.h.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_topics_of_a_collection(data_dir, smoothing):
    h = mx.smoothed(topics(data_dir / "documents" / "hitech.mat", "dtm", 20, 500, 30), smoothing)
    x, start = mx.dirichlet_weights(1000, 20, 0) @ h, mx.warm_start(h, 0)
    assert correlation_error(h, recovered(x, 20, h=start)) < 1e-6
    assert correlation_error(h, recovered(x, 20)) < 1e-6
    if smoothing:
        assert correlation_error(h, factorized(x, start, "hals")) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
@pytest.mark.parametrize(("name", "key"), [("hitech.mat", "dtm"), ("classic.mat", None)])
def test_forty_topics_of_a_collection(data_dir, name, key, smoothing):
    h = mx.smoothed(topics(data_dir / "documents" / name, key, 40, 1000, 50), smoothing)
    for weights in WEIGHTS.values():
        x, start = weights(2000, 40, 0) @ h, mx.warm_start(h, 0)
        assert correlation_error(h, recovered(x, 40, 150, h=start)) < 1e-8
        if smoothing:
            assert correlation_error(h, factorized(x, start, "hals")) > 1e-3
