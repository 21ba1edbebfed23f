"""ω solves y + ln y = q in every range, and nothing overflows on the way."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from nmfkit.omega import omega
from nmfkit.testing import to_device, to_host

GRID = np.concatenate(
    [np.linspace(-690, -60, 2001), np.linspace(-60, 60, 40001), 10.0 ** np.linspace(1, 15, 4001), [-50.0, -2.0, 2.5]]
)


def test_it_is_the_wright_omega_function():
    np.testing.assert_allclose(omega(GRID), scipy.special.wrightomega(GRID), rtol=1e-14)


@given(st.floats(-40, 1e12))
def test_it_solves_its_equation(q):
    y = float(omega(np.array([q]))[0])
    assert y + np.log(y) == pytest.approx(q, rel=1e-13, abs=1e-13)


def test_it_never_falls():
    q = np.sort(GRID)
    assert (np.diff(omega(q)) >= -4e-16 * omega(q)[1:]).all()


def test_no_argument_is_too_large():
    np.testing.assert_allclose(omega(np.array([-1e300, -800.0, 1e200, 1e300])), [0.0, 0.0, 1e200, 1e300])


def test_float32_is_as_exact_as_it_can_be():
    q = GRID[np.abs(GRID) < 80].astype(np.float32)
    y = omega(q)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, scipy.special.wrightomega(q.astype(np.float64)), rtol=1e-7)


def test_it_runs_on_a_device():
    np.testing.assert_array_equal(to_host(omega(to_device(GRID))), omega(GRID))
