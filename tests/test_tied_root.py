"""The compiled root of c₁ + c₀/t + λ ln t against the NumPy one and against its own equation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmfkit import kernels
from nmfkit.kernels.cpu.tied import tied_root
from nmfkit.surrogate import LOG, root

REACH = 60.0
sizes = st.floats(-30, 30).map(np.exp)


@st.composite
def coefficients(draw):
    shape = draw(st.integers(1, 300)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    weight = draw(sizes) * np.exp(rng.normal(size=shape))
    pull = draw(sizes) * np.exp(3 * rng.normal(size=shape)) * (rng.random(shape) > draw(st.sampled_from([0.0, 0.3])))
    slope = draw(sizes) * rng.normal(size=shape) + draw(st.sampled_from([0.0, 1.0]))
    if draw(st.booleans()):  # roots not far from 1, as most are
        slope = pull + draw(st.sampled_from([1e-6, 0.1, 0.24, 0.3])) * rng.uniform(-1, 1, shape) * (weight + pull)
    return weight, slope, pull


@given(coefficients())
def test_it_is_the_root_that_numpy_finds(drawn):
    weight, slope, pull = drawn
    found = tied_root(weight, slope, pull, REACH)
    if not (np.abs(slope) < 1e14 * weight).all():
        assert found is None
        return
    t = root({LOG: weight, 1.0: slope, 0.0: -pull}, reach=REACH)
    np.testing.assert_allclose(found, t, rtol=1e-10, atol=1e-200)  # a pull of nothing counts as 1e-250


@given(coefficients())
def test_it_solves_its_equation(drawn):
    weight, slope, pull = drawn
    found = tied_root(weight, slope, pull, REACH)
    if found is None:
        return
    inside = (found > np.exp(-REACH)) & (found < np.exp(REACH))
    with np.errstate(divide="ignore"):
        terms = np.array([slope, -pull / found, weight * np.log(found)])
    # What t is off by moves the terms by their slope in ln t.
    slopes = weight + pull / np.where(inside, found, 1)
    assert (np.abs(terms.sum(axis=0)) < 1e-12 * slopes + 1e-14 * np.abs(slope))[inside].all()


@given(coefficients())
def test_single_precision_is_that_of_its_entries(drawn):
    single = [a.astype(np.float32) for a in drawn]
    found, wide = tied_root(*single, REACH), tied_root(*(a.astype(np.float64) for a in single), REACH)
    if wide is None:
        return
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wide, rtol=2e-7, atol=1e-37)


@pytest.mark.parametrize("entry", [0.0, np.nan, np.inf, 1e200])
def test_weights_out_of_range_are_left_to_numpy(entry):
    weight = np.ones((40, 3))
    weight[7, 1] = entry
    assert tied_root(weight, weight, np.ones((40, 3)), REACH) is None
    assert tied_root(np.ones((40, 3)), np.ones((40, 3)), weight, REACH) is not None or entry != 0


def test_rows_of_something_large_are_compiled(monkeypatch):
    used = []
    monkeypatch.setattr("nmfkit.kernels.cpu.tied.tied_root", lambda *a, f=tied_root: used.append(1) or f(*a))
    c = np.ones((3, 2))
    plain = root({LOG: c, 1.0: c, 0.0: -c})
    assert not used
    np.testing.assert_array_equal(kernels.tied_root(c, c, c, REACH), plain)
    assert not used
    np.testing.assert_allclose(root({LOG: c, 1.0: c, 0.0: -c}, whole=10**7), plain, rtol=1e-14)
    assert used
