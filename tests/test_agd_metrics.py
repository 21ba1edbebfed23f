"""What recovery is measured by, and how correlated codes are."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmfkit_plugins.agd.diagnostics import CHUNK, correlation
from nmfkit_plugins.agd.recovery import correlation_error, matched_error, squared_distances

from nmfkit.errors import UsageError

seeds = st.integers(0, 2**32 - 1)


def components(seed, rank=4, features=7):
    return np.random.default_rng(seed).standard_normal((rank, features))


@given(seeds)
def test_order_scale_and_sign_do_not_count(seed):
    truth, rng = components(seed), np.random.default_rng(seed)
    found = (truth * rng.choice([-1, 1], 4)[:, None] * rng.uniform(0.1, 9, 4)[:, None])[rng.permutation(4)]
    assert correlation_error(truth, found) < 1e-30
    assert matched_error(truth, found) < 1e-30


def test_neither_does_a_scale_whose_squares_are_out_of_range():
    truth = components(0)
    assert correlation_error(1e200 * truth, 1e-200 * truth) < 1e-28


@given(seeds)
def test_distances_are_one_minus_squared_cosines(seed):
    truth, found = components(seed), components(seed + 1, rank=3)
    cosines = truth @ found.T / np.outer(np.linalg.norm(truth, axis=1), np.linalg.norm(found, axis=1))
    np.testing.assert_allclose(squared_distances(truth, found), 1 - cosines**2, atol=1e-12)


def test_errors_far_below_rounding_of_cosines_are_seen():
    truth = np.eye(3, 6)
    near = truth + 1e-11 * np.roll(truth, 3, axis=1)
    assert correlation_error(truth, near) == pytest.approx(3e-22, rel=1e-6)
    assert matched_error(truth, near) == pytest.approx(1e-22, rel=1e-6)


@given(seeds)
def test_the_matching_is_the_best_of_all(seed):
    truth, found = components(seed), components(seed + 1)
    d = squared_distances(truth, found)
    best = min(sum(d[i, j] for i, j in enumerate(order)) for order in permutations(range(4)))
    assert matched_error(truth, found) == pytest.approx(best / 4)
    assert correlation_error(truth, found) <= best + 1e-12


def test_one_row_may_stand_for_many_only_without_a_matching():
    truth = np.array([[1.0, 0.0, 0.0], [1.0, 1e-9, 0.0]])
    assert correlation_error(truth, truth[:1]) < 1e-17
    assert matched_error(truth, truth[:1]) == pytest.approx(0.5)
    assert correlation_error(np.eye(3), np.zeros((3, 3))) == 3


@pytest.mark.parametrize("found", [np.ones((2, 6)), np.full((2, 7), np.nan), np.ones(7), np.ones((0, 7))])
def test_what_cannot_be_compared_is_refused(found):
    for error in (correlation_error, matched_error):
        with pytest.raises(UsageError, match=r"features|finite"):
            error(components(0), found)


# --- correlation of codes ------------------------------------------------------------------------------------


def test_the_conditions_are_those_of_the_second_moments():
    w = np.maximum(np.random.default_rng(0).standard_normal((500, 6)), 0)
    x = w / w.max()
    delta, found = x.T @ x / len(x), correlation(w)
    assert found.r == pytest.approx(x.sum(axis=1).max())
    assert found.k == pytest.approx(6 * np.diag(delta).max() / 2)
    assert found.lam == pytest.approx(np.diag(delta).min() * 6 / found.k)
    assert found.m == pytest.approx(36 * (delta - np.diag(np.diag(delta))).max())
    assert found.bound == pytest.approx(found.k * 6 * found.lam**4 / found.r**5)
    assert found.density == np.mean(w > 0)


@given(seeds, st.integers(-20, 20), st.integers(2, 40))
def test_neither_scale_nor_chunks_count(seed, exponent, rows):
    w = np.random.default_rng(seed).random((rows, 3))
    repeated = np.tile(w, (2, 1)) * 2.0**exponent
    np.testing.assert_allclose(correlation(repeated), correlation(w), rtol=1e-10)


def test_codes_are_read_in_chunks():
    w = np.random.default_rng(0).random((CHUNK + 7, 2))
    np.testing.assert_allclose(correlation(w[::-1]), correlation(w), rtol=1e-10)


def test_codes_of_one_component_each_are_not_correlated():
    found = correlation(np.tile(np.eye(4), (5, 1)))
    assert (found.r, found.m, found.density) == (1, 0, 0.25)
    assert (found.k, found.lam) == (0.5, 2)


@pytest.mark.parametrize("w", [np.zeros((3, 2)), -np.ones((3, 2)), np.zeros((0, 2)), np.ones(3), [[1, np.nan]]])
def test_no_codes_are_refused(w):
    with pytest.raises(UsageError, match="codes"):
        correlation(w)
