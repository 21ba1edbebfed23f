"""The root of a surrogate is where its derivative changes sign, whatever its powers and magnitudes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nmfkit import surrogate as algebra
from nmfkit.surrogate import REACH, gradient, plus, root
from nmfkit.testing import to_device, to_host

POWERS = [-2.0, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
EDGE = np.exp(REACH)


def slope(surrogate, t):
    """Σ c t^(p−1) and the size of its terms, in units of the largest term, by logarithms."""
    logs = [np.log(np.maximum(np.abs(c), 1e-320)) + (p - 1) * np.log(t) for p, c in surrogate.items()]
    top = np.max(logs, axis=0)
    terms = [np.sign(c) * np.exp(log - top) for c, log in zip(surrogate.values(), logs, strict=True)]
    return np.sum(terms, axis=0)


def signed(power, sizes, sign):
    """Coefficients that keep the sign contract."""
    return sizes * (1 if power > 1 else -1 if power < 1 else sign)


@st.composite
def surrogates(draw, powers=None, reach=6, count=6):
    powers = powers or draw(st.lists(st.sampled_from(POWERS), min_size=1, max_size=5, unique=True))
    sizes = st.one_of(st.just(0.0), st.floats(-reach, reach).map(lambda e: 10.0**e))
    signs = st.sampled_from((1, -1))
    return {p: np.array([signed(p, draw(sizes), draw(signs)) for _ in range(count)]) for p in powers}


def check(surrogate, t, delta):
    """Every entry of `t` minimises its surrogate, within the reach of one step."""
    arrays = np.broadcast_arrays(*surrogate.values())
    assert t.shape == arrays[0].shape
    assert np.isfinite(t).all()
    assert (t >= 0).all()
    assert (t <= EDGE * (1 + 1e-3)).all()
    flat = np.all([c == 0 for c in arrays], axis=0)
    assert (t[flat] == 1).all(), "entries without any slope must stay"
    floor = np.exp(-REACH)
    below, above = np.maximum(t * (1 - delta), floor / 2), np.maximum(t * (1 + delta), floor / 2)
    interior = ~flat & (t > 2 * floor) & (t < EDGE / 2)
    slack = 1e-13
    assert (slope(surrogate, below)[interior] <= slack).all(), "the surrogate falls before t"
    assert (slope(surrogate, above)[interior] >= -slack).all(), "the surrogate falls after t"
    low, high = ~flat & (t <= 2 * floor), ~flat & (t >= EDGE / 2)
    assert (slope(surrogate, np.full_like(t, 2 * floor))[low] >= -slack).all(), "t is too small"
    assert (slope(surrogate, np.full_like(t, EDGE / 2))[high] <= slack).all(), "t is too large"


@given(surrogates())
def test_root_solves_the_equation(surrogate):
    check(surrogate, root(surrogate), 1e-7)


@given(surrogates(reach=30))
def test_root_survives_extremes(surrogate):
    check(surrogate, root(surrogate), 1e-5)


@pytest.mark.parametrize("powers", [(2, 0), (1, 0), (2, 1), (3, 1), (1.5, 0.5), (1, -2), (3, -1), (1.25, 1.0)])
@pytest.mark.parametrize("exponent", [-30, 0, 30])
def test_two_powers_have_the_closed_form(powers, exponent):
    high, low = map(float, powers)
    c = np.array([0.5, 1.0, 3.0])
    found = root({high: c, low: -c * 10.0**exponent})
    expected = np.minimum(10.0 ** (exponent / (high - low)), EDGE)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@given(surrogates(powers=(2.0, 1.0, 0.0)))
def test_three_even_powers_agree_with_newton(surrogate):
    assert_agree(surrogate)


@given(surrogates(powers=(1.5, 1.0, 0.5)))
def test_three_close_powers_agree_with_newton(surrogate):
    assert_agree(surrogate)


@given(surrogates(powers=(3.0, 1.0, -1.0), reach=30))
def test_three_far_powers_agree_with_newton(surrogate):
    assert_agree(surrogate)


def assert_agree(surrogate):
    closed, newton = root(surrogate), algebra._newton(surrogate)
    floor = np.exp(-REACH)
    close = np.abs(closed - newton) <= 1e-9 * newton
    at_edge = (np.minimum(closed, newton) >= EDGE / 2) | (np.maximum(closed, newton) <= 2 * floor)
    assert (close | at_edge).all(), (closed, newton)


@pytest.mark.parametrize("power", POWERS)
def test_one_power(power):
    rising, falling = np.array([2.0]), np.array([-2.0])
    if power >= 1:
        assert root({power: rising}).tolist() == [0.0]
    if power <= 1:
        assert root({power: falling}) == pytest.approx(EDGE)
    assert root({power: np.zeros(2)}).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("count", range(1, len(POWERS) + 1))
def test_nothing_at_all_stays(count):
    assert root({p: np.zeros((2, 3)) for p in POWERS[:count]}).tolist() == [[1.0] * 3] * 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("powers", [(2, 1, 0), (2, 0), (2.5, 1, 0), (1.5, 1, 0.5), (1,), (2, 1.5, 1, 0, -1)])
@given(sizes=st.lists(st.sampled_from([0.0, 1e-30, 1e-15, 1.0, 1e15, 1e30]), min_size=5, max_size=5))
@example(sizes=[0.0, 1e30, 0.0, 0.0, 0.0])
@example(sizes=[1e-30, 1e30, 1e-30, 1e30, 1e-30])
def test_no_warning_and_no_infinity_from_any_magnitudes(powers, dtype, sizes):
    for sign in (1, -1):
        coefficients = {
            float(p): np.full(2, signed(p, size, sign), dtype) for p, size in zip(powers, sizes, strict=False)
        }
        t = root(coefficients)
        assert t.dtype == dtype
        assert np.isfinite(t).all()
        assert (t >= 0).all()


@given(surrogates(), surrogates())
def test_plus_adds_derivatives(one, other):
    both = plus(one, other)
    assert set(both) == set(one) | set(other)
    np.testing.assert_allclose(gradient(both), gradient(one) + gradient(other), rtol=1e-9, atol=1e-9 * size(one, other))


def size(*surrogates):
    return float(sum(np.max(np.abs(c)) for s in surrogates for c in s.values()))


def test_coefficients_may_broadcast():
    t = root({2.0: np.full((3, 2), 2.0), 1.0: np.ones((1, 2)), 0.0: -np.full((3, 2), 3.0)})
    np.testing.assert_allclose(t, 1.0)
    t = root({2.0: np.ones((1, 2)), 1.5: np.ones((3, 1)), 0.0: -2 * np.ones((3, 2))})
    np.testing.assert_allclose(t, 1.0)


@given(surrogates())
def test_root_runs_on_a_device(surrogate):
    np.testing.assert_allclose(to_host(root(to_device(surrogate))), root(surrogate), rtol=1e-12)


@given(surrogates(powers=(1.0, 0.5, 0.0)))
def test_three_powers_up_to_one(surrogate):
    check(surrogate, root(surrogate), 1e-7)


@given(surrogates(powers=(2.0, 1.5, 1.0)))
def test_three_powers_from_one_on(surrogate):
    check(surrogate, root(surrogate), 1e-7)
