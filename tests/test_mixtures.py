"""Data of known components are what their descriptions say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.agd import correlation_error

from nmfkit.testing import mixtures as mx

WEIGHTS = {
    "dirichlet": mx.dirichlet_weights,
    "correlated": mx.correlated_weights,
    "logistic normal": mx.logistic_normal_weights,
    "binary": mx.binary_weights,
}
COMPONENTS = {"signed": mx.signed_components, "dense": mx.dense_components, "sparse": mx.sparse_components}
sizes = st.tuples(st.integers(1, 150), st.integers(1, 9))
seeds = st.integers(0, 2**32)


@pytest.mark.parametrize("name", WEIGHTS)
@given(sizes, seeds)
def test_weights(name, size, seed):
    w = WEIGHTS[name](*size, seed)
    assert w.shape == size
    assert (w >= 0).all()
    if name != "binary":
        np.testing.assert_allclose(w.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("name", [*WEIGHTS, *COMPONENTS])
def test_a_seed_repeats_its_numbers_and_no_other_does(name):
    make = (WEIGHTS | COMPONENTS)[name]
    np.testing.assert_array_equal(make(30, 20, 3), make(30, 20, 3))
    assert (make(30, 20, 3) != make(30, 20, 4)).any()


def test_one_seed_serves_all():
    x = np.zeros((200, 200))
    drawn = [mx.dense_components(200, 200, 0), mx.signed_components(200, 200, 0), mx.with_noise(x, 0, noise=1.0)]
    cosines = np.corrcoef([f.ravel() for f in drawn]) - np.eye(3)
    assert np.abs(cosines).max() < 0.02


def test_moments_of_the_dirichlet():
    """E xᵢ² = (a + 1) / (r (r a + 1)) and E xᵢ xⱼ = a / (r (r a + 1)), a = 5 / r."""
    rank = 10
    w = mx.dirichlet_weights(200_000, rank, 0)
    moments, a = w.T @ w / len(w), 5 / rank
    np.testing.assert_allclose(np.diag(moments), (a + 1) / (rank * 6), rtol=0.03)
    np.testing.assert_allclose(moments[~np.eye(rank, dtype=bool)], a / (rank * 6), rtol=0.05)


def test_correlated_weights_are_those_of_a_loop():
    samples, rank = mx.BATCH + 5, 6
    rng = np.random.default_rng([9, 1])
    expected = []
    for size in (mx.BATCH, 5):
        matrices, vectors = rng.standard_normal((size, rank, rank)), rng.standard_normal((size, rank, 1))
        for c, g in zip(matrices, vectors, strict=True):
            powers = np.exp(np.array([sum(row * g[:, 0]) for row in c @ c]))
            expected.append(powers / powers.sum())
    np.testing.assert_allclose(mx.correlated_weights(samples, rank, 9), expected, rtol=1e-9)


def test_correlated_weights_are_hardly_correlated():
    w = mx.correlated_weights(3000, 20, 0)
    assert np.median(w.max(axis=1)) > 0.99
    assert (np.corrcoef(w.T) - np.eye(20)).max() < 0.06


def test_covariance_of_the_logistic_normal():
    """Var ln(xᵢ / xⱼ) is 2 sd² (1 − ρ) within a group and 2 sd² across groups."""
    sd, correlation = 1.5, 0.7
    logs = np.log(mx.logistic_normal_weights(100_000, 6, 0, sd=sd, correlation=correlation, group=3))
    for one, other in ((0, 1), (3, 5)):
        assert np.var(logs[:, one] - logs[:, other]) == pytest.approx(2 * sd**2 * (1 - correlation), rel=0.03)
    for one, other in ((0, 3), (2, 5)):
        assert np.var(logs[:, one] - logs[:, other]) == pytest.approx(2 * sd**2, rel=0.03)


def test_weights_of_one_group_are_correlated():
    w = mx.logistic_normal_weights(20_000, 40, 0)
    across = np.corrcoef(w.T)
    assert across[0, 1] > 0.1
    assert across[0, 7] < 0.02


@pytest.mark.parametrize("chance", [1 / 8, 0.2, 1.0])
def test_binary_weights(chance):
    w = mx.binary_weights(20_000, 10, 0, chance=chance)
    assert set(np.unique(w)) <= {0.0, 1.0}
    assert w.mean() == pytest.approx(chance, abs=0.005)


def test_components():
    signed, dense, sparse = (make(40, 500, 0) for make in COMPONENTS.values())
    assert signed.min() < -0.499
    assert 0.499 < signed.max() < 0.5
    assert dense.min() >= 0.5
    assert (sparse == 0).mean() == pytest.approx(0.8, abs=0.01)
    assert all(np.linalg.matrix_rank(h) == 40 for h in (signed, dense, sparse))


@given(sizes, seeds, st.floats(0, 0.99))
def test_sparse_components_have_something(size, seed, zeros):
    h = mx.sparse_components(*size[::-1], seed, zeros=zeros)
    assert (h >= 0).all()
    assert h.any(axis=1).all()


@given(seeds, st.floats(0.01, 0.99))
def test_smoothing_keeps_sums_and_leaves_no_zeros(seed, part):
    h = mx.sparse_components(5, 30, seed)
    smooth = mx.smoothed(h, part)
    np.testing.assert_allclose(smooth.sum(axis=1), h.sum(axis=1), rtol=1e-12)
    assert (smooth > 0).all()
    np.testing.assert_array_equal(mx.smoothed(h, 0.0), h)


@pytest.mark.parametrize("noise", [0.0, 0.01, 2.0])
def test_noise_is_relative_to_the_features(noise):
    x = mx.dirichlet_weights(300, 400, 0)
    off = mx.with_noise(x, 1, noise=noise) - x
    assert off.std() == pytest.approx(noise / 400, rel=0.01)
    assert abs(off.mean()) <= 4 * noise / 400 / np.sqrt(off.size)


@given(seeds, st.integers(2, 30))
def test_a_warm_start_mixes_components(seed, rank):
    h = mx.dense_components(rank, 40, 0)
    mixing = np.linalg.lstsq(h.T, mx.warm_start(h, seed).T, rcond=None)[0] - np.eye(rank)
    assert np.abs(mixing).max() <= 0.5 / np.sqrt(rank) + 1e-9
    np.testing.assert_array_equal(mx.warm_start(h, seed, spread=0.0), h)
    additive = mx.warm_start(h, seed, spread=0.0, additive=0.1) - h
    assert 0 < np.abs(additive).max() <= 0.05


def test_wider_spreads_start_further_off():
    h = mx.signed_components(20, 300, 0)
    errors = [correlation_error(mx.warm_start(h, 0, spread=spread), h) for spread in (0.0, 0.05, 0.2, 0.4)]
    assert errors[0] < 1e-25
    assert errors == sorted(errors)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: mx.dirichlet_weights(5, 3, 0, total=0), "total must be above 0, not 0"),
        (lambda: mx.logistic_normal_weights(5, 3, 0, sd=-1), "sd must be above 0, not -1"),
        (lambda: mx.logistic_normal_weights(5, 3, 0, group=0), "group must be above 0, not 0"),
        (lambda: mx.logistic_normal_weights(5, 3, 0, correlation=1), r"correlation must be in \[0, 1\), not 1"),
        (lambda: mx.binary_weights(5, 3, 0, chance=0), r"chance must be in \(0, 1\], not 0"),
        (lambda: mx.binary_weights(5, 3, 0, chance=1.5), r"chance must be in \(0, 1\], not 1.5"),
        (lambda: mx.sparse_components(3, 5, 0, zeros=1), r"zeros must be in \[0, 1\), not 1"),
        (lambda: mx.smoothed(np.ones((2, 3)), 1), r"part must be in \[0, 1\), not 1"),
        (lambda: mx.with_noise(np.ones((2, 3)), 0, noise=-1), "noise must be at least 0, not -1"),
    ],
)
def test_refusals(make, told):
    with pytest.raises(ValueError, match=told):
        make()
