"""Rules that move all of H at once: gradients, steps back, planted factors, scale, and fits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmfkit_plugins.symnmf.backtracking import MOST
from nmfkit_plugins.symnmf.beginning import gram_of
from nmfkit_plugins.symnmf.coordinate import Coordinates
from nmfkit_plugins.symnmf.gauss_newton import GaussNewton
from nmfkit_plugins.symnmf.newton import Newton
from nmfkit_plugins.symnmf.projected_gradient import ProjectedGradient, gradient_of
from symmetric import beginning, driven, facts_of, objective, planted, similarity

import nmfkit
from nmfkit.blocks import Dense
from nmfkit.errors import UsageError
from nmfkit.testing import to_device, to_host

STEPPING = [ProjectedGradient(), GaussNewton(), Newton()]
RULES = [*STEPPING, Coordinates()]
IN_ORDER = RULES[3:]
NAMES = ["pgd", "pgncg", "newton", "cd"]
EACH = pytest.mark.parametrize("rule", RULES, ids=NAMES)


@given(st.integers(0, 2**32), st.booleans())
def test_the_gradient_is_the_derivative(seed, signed):
    a = similarity(12, seed, signed)
    h, toward = beginning(a, 3, seed) + 0.1, np.random.default_rng(seed + 1).standard_normal((12, 3))
    eps = 1e-6
    slope = (objective(a, h + eps * toward) - objective(a, h - eps * toward)) / (2 * eps)
    found = np.sum(gradient_of(h, gram_of(h), a @ h) * toward)
    assert found == pytest.approx(slope, rel=1e-6, abs=1e-6)


@EACH
@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([1e-6, 1.0, 1e6]))
def test_what_counts_never_rises(rule, seed, signed, scale):
    a = scale * similarity(12, seed, signed)
    found = driven(rule, a, beginning(a, 3, seed), 25)
    for h, value in found:
        assert np.all(h >= 0)
        assert value == pytest.approx(objective(a, h), rel=1e-9, abs=1e-12 * np.sum(a * a))
        assert not h[[3, 11]].any(), "a node without neighbours has moved"
    values = np.array([value for _, value in found])
    assert np.all(np.diff(values) <= 1e-14 * np.sum(a * a))
    assert values[-1] < values[0]


@EACH
@pytest.mark.parametrize("signed", [False, True])
def test_ends_where_no_entry_can_do_better(rule, signed):
    a = similarity(20, signed=signed)
    h, _ = driven(rule, a, beginning(a), 200 if rule in IN_ORDER else 1500)[-1]
    slope = gradient_of(h, gram_of(h), a @ h)
    size = np.abs(a) @ h + h @ (h.T @ h) + 1e-300
    assert np.max(-slope / size) < 1e-3
    assert np.max(np.abs(np.where(h > 1e-3, slope, 0)) / size) < 1e-3


@EACH
def test_finds_a_planted_factor_from_nearby(rule):
    a, truth = planted()
    start = np.maximum(truth + 0.05 * np.random.default_rng(1).standard_normal(truth.shape), 0)
    h, value = driven(rule, a, start, 60 if rule in IN_ORDER else 400)[-1]
    assert value <= 0.5 * (1e-3) ** 2 * np.sum(a * a)
    np.testing.assert_allclose(h, truth, atol=0.02)


@EACH
def test_the_scale_of_the_matrix_is_no_matter(rule):
    a = similarity()
    start = beginning(a)
    one, other = (driven(rule, scale**2 * a, scale * start, 12) for scale in (1.0, 32.0))
    for (h, value), (wide, more) in zip(one, other, strict=True):
        np.testing.assert_allclose(32 * h, wide, rtol=1e-9, atol=1e-12)
        assert 1024**2 * value == pytest.approx(more, rel=1e-12)
    thousand = driven(rule, 1000 * a, np.sqrt(1000) * start, 12)
    assert thousand[-1][1] == pytest.approx(1e6 * one[-1][1], rel=1e-6)


@EACH
def test_float32_stays_float32(rule):
    a = similarity().astype(np.float32)
    found = driven(rule, a, beginning(a).astype(np.float32), 60)
    assert found[-1][0].dtype == np.float32
    wide = driven(rule, a.astype(np.float64), beginning(a), 60)
    assert found[-1][1] == pytest.approx(wide[-1][1], abs=2e-3 * float(np.sum(a * a)))
    values = np.array([value for _, value in found])
    assert np.all(np.diff(values) <= 1e-6 * np.sum(a * a))


@pytest.mark.parametrize("rule", STEPPING, ids=NAMES[:3])
def test_nothing_stays_nothing(rule):
    """It is a stationary point."""
    a = similarity()
    for h, value in driven(rule, a, np.zeros((len(a), 3)), 4):
        assert not h.any()
        assert value == pytest.approx(0.5 * np.sum(a * a))
    found = driven(rule, a, beginning(a) * [1, 1, 0, 1], 5)
    assert np.isfinite(found[-1][0]).all()


@pytest.mark.parametrize("rule", STEPPING, ids=NAMES[:3])
def test_where_no_step_helps_the_factor_itself_is_next(rule):
    a = similarity()
    h = beginning(a)
    state = rule.begin(h, facts_of(a), Dense(a))
    moved, state = rule.move(h, a @ h, {**state, "objective": objective(a, h)})
    trials = [moved]
    while "h" in state:
        back = rule.refused(state, np.nan)
        assert back is not None
        moved, state = back
        trials.append(moved)
    assert len(trials) == MOST + 1
    np.testing.assert_array_equal(trials[-1], h)
    far = [np.linalg.norm(t - h) for t in trials]
    assert np.all(np.diff(far) < 0)
    assert rule.refused(state, objective(a, h)) is None


@pytest.mark.parametrize("rule", [ProjectedGradient(), GaussNewton()], ids=["pgd", "pgncg"])
def test_runs_on_a_device(rule):
    a = similarity()
    h = beginning(a)
    state = {**rule.begin(h, facts_of(a), None), "objective": objective(a, h)}
    expected, after = rule.move(h, a @ h, state)
    there, later = rule.move(*to_device((h, a @ h)), state)
    np.testing.assert_allclose(to_host(there), expected, atol=1e-12)
    back, other = rule.refused(after, np.inf), rule.refused(later, np.inf)
    np.testing.assert_allclose(to_host(other[0]), back[0], atol=1e-12)


def test_newton_is_fast_near_the_end():
    """On separate communities nothing is left between columns, and a few steps reach the last digits."""
    a = np.kron(np.eye(3), np.ones((6, 6))) * np.outer(x := np.linspace(1, 2, 18), x)
    h, value = driven(Newton(), a, np.kron(np.eye(3), np.ones((6, 1))) * 1.5, 12)[-1]
    assert value < 1e-20 * np.sum(a * a)
    np.testing.assert_allclose(h @ h.T, a, atol=1e-9)


def test_newton_refuses_what_it_cannot_hold():
    a = similarity()
    with pytest.raises(UsageError, match=r"n = 40 rows, more than 39: use --rule pgncg or .*newton:most=40"):
        Newton(most=39).begin(beginning(a), facts_of(a), Dense(a))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: ProjectedGradient(sigma=0), "sigma must be between 0 and 1, not 0"),
        (lambda: ProjectedGradient(beta=1), "beta must be between 0 and 1, not 1"),
        (lambda: ProjectedGradient(longest=0), "longest must be above 0, not 0"),
        (lambda: GaussNewton(inner=0), "inner must be at least 1, not 0"),
        (lambda: GaussNewton(sigma=2), "sigma"),
        (lambda: Newton(beta=-1), "beta"),
        (lambda: Newton(most=0), "most must be at least 1"),
        (lambda: Coordinates(0), "inner must be at least 1"),
    ],
)
def test_options_are_looked_at(make, told):
    with pytest.raises(ValueError, match=told):
        make()


@pytest.mark.parametrize("name", NAMES)
def test_fits(name):
    a, _ = planted()
    found = nmfkit.fit(a, model="symnmf", rule=name, rank=4, max_sweeps=300, tol=1e-8)
    assert np.sqrt(2 * found.objective) <= 0.01 * np.linalg.norm(a)
    np.testing.assert_array_equal(found.w, found.h.T)
    assert np.all(np.diff(found.history.objective) <= 1e-12 * np.sum(a * a))


@pytest.mark.parametrize("name", NAMES)
def test_whose_diagonal_is_of_no_account(name):
    a, truth = planted()
    options = {"model": "symnmf:ignore", "rule": name, "rank": 4, "max_sweeps": 300, "tol": 1e-9, "h": truth.T + 0.05}
    if name in ("newton", "cd"):
        with pytest.raises(UsageError, match="keep A as it is in memory: use --rule symhals"):
            nmfkit.fit(a, **options)
        return
    found = nmfkit.fit(a + np.diag(np.arange(60.0)), **options)
    beside = ~np.eye(60, dtype=bool)
    assert np.linalg.norm((a - found.w @ found.h)[beside]) <= 0.02 * np.linalg.norm(a[beside])
