"""Surrogates with a term of slope c ln t: closed form, Newton, limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmfkit import surrogate as algebra
from nmfkit.surrogate import LOG, REACH, gradient, plus, root
from nmfkit.testing import to_device, to_host

OTHERS = [-1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 4 / 3, 1.5, 2.0, 2.5, 3.0]
EDGE = np.exp(REACH)


def slopes(surrogate, t):
    """The derivative at t, in units of the sum of its terms' sizes."""
    terms = [c * (np.log(t) if p == LOG else t ** (p - 1)) for p, c in surrogate.items()]
    size = np.sum(np.abs(terms), axis=0)
    return np.sum(terms, axis=0) / np.where(size > 0, size, 1)


@st.composite
def logged(draw, powers=None, reach=6, count=6):
    """Surrogates with a positive coefficient of LOG, which keep the sign contract."""
    powers = powers or draw(st.lists(st.sampled_from(OTHERS), max_size=4, unique=True))
    sizes = st.floats(-reach, reach).map(lambda e: 10.0**e)
    maybe = st.one_of(st.just(0.0), sizes)
    signs = {p: st.just(1) if p > 1 else st.just(-1) if p < 1 else st.sampled_from((1, -1)) for p in powers}
    found = {p: np.array([draw(maybe) * draw(signs[p]) for _ in range(count)]) for p in powers}
    return {**found, LOG: np.array([draw(sizes) for _ in range(count)])}


def check(surrogate, t, delta):
    assert np.isfinite(t).all()
    inside = (t > 2 / EDGE) & (t < EDGE / 2)
    assert (slopes(surrogate, np.maximum(t * (1 - delta), 1e-300))[inside] <= 1e-13).all(), "it falls before t"
    assert (slopes(surrogate, t * (1 + delta) + 1e-300)[inside] >= -1e-13).all(), "it falls after t"
    assert (slopes(surrogate, np.full_like(t, 2 / EDGE))[t <= 2 / EDGE] >= -1e-13).all(), "t is too small"
    assert (slopes(surrogate, np.full_like(t, EDGE / 2))[t >= EDGE / 2] <= 1e-13).all(), "t is too large"


@given(logged())
def test_root_solves_the_equation(surrogate):
    check(surrogate, root(surrogate), 1e-9)


@given(logged(reach=25))
def test_root_survives_extremes(surrogate):
    check(surrogate, root(surrogate), 1e-7)


@given(logged(powers=(1.0, 0.0)))
def test_the_closed_form_agrees_with_newton(surrogate):
    closed, newton = root(surrogate), algebra._newton(surrogate)
    at_edge = (np.minimum(closed, newton) >= EDGE / 2) | (np.maximum(closed, newton) <= 2 / EDGE)
    assert (at_edge | (np.abs(closed - newton) <= 1e-12 * newton)).all(), (closed, newton)


@given(logged(powers=(1.5, 1.0, 0.5)), st.floats(-3, 3))
def test_newton_ends_at_the_same_place_from_everywhere(surrogate, away):
    t = root(surrogate)
    again = root(surrogate, t * 10.0**away)
    inside = (t > 2 / EDGE) & (t < EDGE / 2)
    np.testing.assert_allclose(again[inside], t[inside], rtol=1e-12)


@pytest.mark.parametrize("powers", [(1.0, 0.0), (2.0, 1.0, 0.0), (1.0, -0.5), (1.5, 0.5)])
@given(data=st.data())
def test_a_vanishing_weight_leaves_the_root_of_the_powers(powers, data):
    sizes = st.floats(-2, 2).map(lambda e: 10.0**e)
    powered = {p: np.array([data.draw(sizes) * (1 if p >= 1 else -1) for _ in range(4)]) for p in powers}
    expected = root(powered)
    for weight in (0.0, 1e-300, 1e-18):
        np.testing.assert_allclose(root({**powered, LOG: np.full(4, weight)}), expected, rtol=1e-12)


@pytest.mark.parametrize("powers", [(1.0, 0.0), (2.0, 1.0, 0.0), (1.0, -0.5), (1.5, 0.5)])
@given(data=st.data())
def test_a_great_weight_leads_to_the_prior(powers, data):
    sizes = st.floats(-2, 2).map(lambda e: 10.0**e)
    powered = {p: np.array([data.draw(sizes) * (1 if p >= 1 else -1) for _ in range(4)]) for p in powers}
    prior = np.array([data.draw(sizes) for _ in range(4)])
    weight = 1e9
    divergence = {LOG: np.full(4, weight), 1.0: -weight * np.log(prior)}
    np.testing.assert_allclose(root(plus(powered, divergence)), prior, rtol=1e-2)


@pytest.mark.parametrize("weight", [1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_a_small_weight_does_not_collapse_the_factor(weight):
    """b/λ e^(s/λ) is infinite for λ = 10⁻³, and its omega function must not be formed from it."""
    slope, pull, prior = np.array([1.0, 2.0]), np.array([1.0, 3.0]), np.array([1.0, 1.5])
    t = root({1.0: slope - weight * np.log(prior), 0.0: -pull, LOG: np.full(2, weight)})
    np.testing.assert_allclose(t, prior, rtol=1e-12)


@given(st.floats(-30, 30), st.floats(-3, 3).map(lambda e: 10.0**e))
def test_an_entry_without_pull_is_the_prior_held_down(slope, weight):
    slope = slope * weight
    t = root({1.0: np.array([slope]), 0.0: np.zeros(1), LOG: np.array([weight])})
    np.testing.assert_allclose(t, np.exp(-slope / weight), rtol=1e-12)


@pytest.mark.parametrize("powers", [(), (1.0,), (0.0,), (1.0, 0.0), (2.0, 1.0, 0.0), (1.5, 0.5)])
def test_entries_without_any_slope_stay(powers):
    assert root({p: np.zeros(2) for p in (*powers, LOG)}).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("powers", [(1.0, 0.0), (2.0, 1.0, 0.0), (1.5, 0.5), (3.0, 1.0, -2.0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(sizes=st.lists(st.sampled_from([0.0, 1e-30, 1e-15, 1.0, 1e15, 1e30]), min_size=4, max_size=4))
def test_no_warning_and_no_infinity_from_any_magnitudes(powers, dtype, sizes):
    for sign in (1, -1):
        signs = {p: 1 if p > 1 else -1 if p < 1 else sign for p in powers}
        found = {p: np.full(2, size * signs[p], dtype) for p, size in zip(powers, sizes, strict=False)}
        t = root({**found, LOG: np.full(2, sizes[-1], dtype)})
        assert t.dtype == dtype
        assert np.isfinite(t).all()
        assert (t >= 0).all()


@given(logged(powers=(1.0, 0.0), reach=3))
def test_float32_gives_the_same_root(surrogate):
    narrow = {p: c.astype(np.float32) for p, c in surrogate.items()}
    wide = {p: c.astype(np.float64) for p, c in narrow.items()}
    np.testing.assert_allclose(root(narrow), root(wide), rtol=1e-6, atol=1e-37)


def test_the_gradient_has_no_part_of_it():
    surrogate = {1.0: np.array([2.0]), 0.0: np.array([-1.0]), LOG: np.array([5.0])}
    assert gradient(surrogate).tolist() == [1.0]
    assert gradient({LOG: np.array([5.0])}).tolist() == [0.0]


def test_weights_add_and_broadcast():
    both = plus({LOG: np.full((3, 2), 1.0)}, {LOG: np.full((1, 2), 2.0), 1.0: np.zeros((1, 2))})
    np.testing.assert_array_equal(both[LOG], 3.0)
    t = root({LOG: np.ones((1, 2)), 1.0: np.ones((3, 1)), 0.0: -np.ones((3, 2))})
    np.testing.assert_allclose(t, np.ones((3, 2)))
    t = root({LOG: np.ones((1, 2)), 1.5: np.ones((3, 1)), 0.5: -np.ones((3, 2))})
    np.testing.assert_allclose(t, np.ones((3, 2)))


@given(logged())
def test_root_runs_on_a_device(surrogate):
    np.testing.assert_allclose(to_host(root(to_device(surrogate))), root(surrogate), rtol=1e-12)
