"""A polish of H lowers the error in every column, or leaves it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmfkit_plugins.mdsr.polish import polished

from nmfkit import kernels
from nmfkit.testing import to_device, to_host

RELAXED = (False, True)
relaxations = pytest.mark.parametrize("relaxed", RELAXED)


def problem(seed, rows=12, columns=9, rank=4, dtype=np.float64, *, signed=False):
    """W in (0, 1), H, Y, WᵀW and WᵀY."""
    rng = np.random.default_rng(seed)
    w, h, y = rng.random((rows, rank)), rng.random((rank, columns)), rng.random((rows, columns))
    w, h, y = (a.astype(dtype).astype(np.float64) for a in (w, h - 0.5 * signed, y))
    return w, h.astype(dtype), y, w.T @ w, w.T @ y


def errors(w, h, y):
    return np.sum((w @ h.astype(np.float64) - y) ** 2, axis=0)


@given(
    st.integers(0, 2**32),
    st.sampled_from([1, 2, 3, 12]),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from(RELAXED),
    st.integers(1, 5),
)
def test_no_column_gets_worse(seed, rows, dtype, relaxed, sweeps):
    w, h, y, gram, cross = problem(seed, rows, dtype=dtype, signed=relaxed)
    for _ in range(3):
        made = polished(h, gram, cross, relaxed=relaxed, sweeps=sweeps)
        assert made.dtype == dtype
        assert made.shape == h.shape
        assert relaxed or made.min() >= 0
        rounding = 1e-13 * np.sum(y**2, axis=0)
        assert (errors(w, made, y) <= errors(w, h, y) + rounding).all()
        h = made


@pytest.mark.parametrize("seed", range(30))
def test_no_column_gets_worse_by_rounding_where_columns_of_w_are_nearly_equal(seed):
    w, h, y, _, _ = problem(seed, dtype=np.float32)
    w[:, 1] = w[:, 0] + 2e-3 * w[:, 1]
    for _ in range(6):
        made = polished(h, w.T @ w, w.T @ y, relaxed=True, sweeps=1)
        assert (errors(w, made, y) <= errors(w, h, y) + 1e-14 * np.sum(y**2, axis=0)).all()
        h = made


@relaxations
def test_it_makes_a_random_h_better(relaxed):
    w, h, y, gram, cross = problem(0)
    made = polished(h, gram, cross, relaxed=relaxed, sweeps=1)
    assert (errors(w, made, y) < errors(w, h, y)).all()


def test_relaxed_is_least_squares():
    w, h, y, gram, cross = problem(0)
    made = polished(h, gram, cross, relaxed=True, sweeps=1)
    np.testing.assert_allclose(made, np.linalg.lstsq(w, y)[0], rtol=1e-9)


def test_many_sweeps_are_nonnegative_least_squares():
    _, h, _, gram, cross = problem(0)
    made = polished(h, gram, cross, relaxed=False, sweeps=2000)
    assert (made == 0).any()
    np.testing.assert_allclose(made, kernels.nnls(gram, cross.T).T, rtol=1e-8, atol=1e-10)


def test_columns_of_w_of_very_different_sizes_are_no_singular_gram():
    w, h, y, _, _ = problem(0)
    w = w * np.array([1.0, 1e-3, 1e-5, 1e-6])
    made = polished(h, w.T @ w, w.T @ y, relaxed=True, sweeps=1)
    best = np.linalg.lstsq(w / np.linalg.norm(w, axis=0), y)[0] / np.linalg.norm(w, axis=0)[:, None]
    np.testing.assert_allclose(made, best, rtol=1e-6)


@pytest.mark.parametrize("fault", ["equal columns", "a column of zeros", "fewer rows than columns", "no W at all"])
@pytest.mark.parametrize("seed", range(5))
def test_a_singular_gram_takes_the_least_error_and_keeps_the_rest_of_h(fault, seed):
    w, h, y, _, _ = problem(seed, rows=3 if fault == "fewer rows than columns" else 12)
    if fault == "equal columns":
        w[:, 1] = w[:, 0]
    if fault == "a column of zeros":
        w[:, 1] = 0
    if fault == "no W at all":
        w[:] = 0
    made = polished(h, w.T @ w, w.T @ y, relaxed=True, sweeps=1)
    best = np.linalg.lstsq(w, y, rcond=1e-10)[0]
    np.testing.assert_allclose(w @ made, w @ best, atol=1e-6)
    sizes = np.linalg.norm(w, axis=0)
    unit = w / np.where(sizes > 0, sizes, 1.0)
    moved = (made - h) * np.where(sizes > 0, sizes, 1.0)[:, None]
    unseen = np.linalg.svd(unit)[2][np.linalg.matrix_rank(unit) :]
    np.testing.assert_allclose(unseen @ moved, 0, atol=1e-6)


def test_a_column_that_w_does_not_have_stays():
    w, h, y, _, _ = problem(0)
    w[:, 1] = 0
    made = polished(h, w.T @ w, w.T @ y, relaxed=False, sweeps=3)
    np.testing.assert_array_equal(made[1], h[1])


@relaxations
def test_what_is_given_stays_as_it_is(relaxed):
    given_ = problem(0)[1:2] + problem(0)[3:]
    before = [a.copy() for a in given_]
    polished(*given_, relaxed=relaxed, sweeps=2)
    for a, b in zip(given_, before, strict=True):
        np.testing.assert_array_equal(a, b)


@relaxations
def test_large_and_small_go_the_same_way(relaxed):
    _, h, _, gram, cross = problem(0, columns=100_000)  # as many columns as pay for compiling
    made = polished(h, gram, cross, relaxed=relaxed, sweeps=3)
    few = polished(h[:, :9], gram, cross[:, :9], relaxed=relaxed, sweeps=3)
    np.testing.assert_allclose(made[:, :9], few, rtol=1e-9, atol=1e-12)


@relaxations
def test_it_runs_on_a_device(relaxed):
    _, h, _, gram, cross = problem(0)
    found = polished(*map(to_device, (h, gram, cross)), relaxed=relaxed, sweeps=2)
    wanted = polished(h, gram, cross, relaxed=relaxed, sweeps=2)
    np.testing.assert_allclose(to_host(found), wanted, rtol=1e-12, atol=1e-14)
