"""The exact step of minimum volume deep NMF: the optimum that alternating directions approach, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from oracles.admm import Subproblem, admm
from oracles.closed import coupled
from oracles.deep import Layer, row_step, volume, volume_halves
from oracles.divergence import halves
from oracles.roots import summed_root

from nmfkit.registry import registry
from nmfkit.summed import summed_root as found_sums
from nmfkit.surrogate import LOG, plus, root

SETTINGS = [(0.05, 0.5, 0.1), (0.7, 1e-3, 1.0), (0.7, 0.5, 0.1), (20.0, 0.5, 0.1)]


def exactly(problem):
    """The optimum by Newton's method in extended precision."""
    return summed_root(problem.gradient, problem.w, 1.0, 0)[0].astype(float)


def minvol(alpha, delta):
    return registry().build("regularizer", f"minvol:{alpha},delta={delta},weight=absolute")


def ours(problem):
    """The same by what nmfkit's rules are made of: the loss, the coupling and the volume as surrogates."""
    loss = {1.0: np.broadcast_to(problem.s, problem.w.shape), 0.0: -problem.c}
    coupling = {LOG: np.full_like(problem.w, problem.weight), 1.0: problem.weight * np.log(problem.w / problem.prior)}
    part = minvol(problem.alpha, problem.delta)
    small = part.surrogate(problem.w, part.stat(problem.w))
    return problem.w * found_sums(plus(loss, coupling, small), problem.w, 1.0, False)


# --- the oracle itself ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("weight", "alpha", "delta"), SETTINGS)
def test_alternating_directions_and_newton_find_the_same(weight, alpha, delta):
    problem = Subproblem.made(1, weight=weight, alpha=alpha, delta=delta)
    exact = exactly(problem)
    np.testing.assert_allclose(exact.sum(0), 1, rtol=0, atol=1e-15)
    found = admm(problem, 3000, rho=20 * weight)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-9)
    assert problem.objective(found) == pytest.approx(problem.objective(exact), rel=1e-12)


@pytest.mark.parametrize("rho", [10, 100, 1000])
def test_as_printed_alternating_directions_end_elsewhere(rho):
    problem = Subproblem.made(1)
    printed, exact = admm(problem, 2000, rho, printed=True), exactly(problem)
    np.testing.assert_allclose(printed.sum(0), 1, rtol=0, atol=1e-9)
    assert problem.objective(printed) > problem.objective(exact) + 0.1


# --- nmfkit's step -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("weight", "alpha", "delta"), SETTINGS)
def test_our_step_is_the_optimum_of_alternating_directions(seed, weight, alpha, delta):
    problem = Subproblem.made(seed, weight=weight, alpha=alpha, delta=delta)
    found, reference = ours(problem), admm(problem, 3000, rho=20 * weight)
    np.testing.assert_allclose(found.sum(0), 1, rtol=0, atol=1e-12)
    assert problem.objective(found) == pytest.approx(problem.objective(reference), rel=1e-10)
    np.testing.assert_allclose(found, reference, rtol=0, atol=1e-8)


@pytest.mark.parametrize("weight", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("alpha", [1e-4, 0.1, 10])
@pytest.mark.parametrize("delta", [1, 1e-2, 1e-6])
def test_our_step_is_exact_for_weights_of_any_size(weight, alpha, delta):
    problem = Subproblem.made(2, weight=weight, alpha=alpha, delta=delta)
    found = ours(problem)
    np.testing.assert_allclose(found.sum(0), 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found, exactly(problem), rtol=1e-9, atol=1e-14)


def test_the_volume_majorises_and_touches():
    rng = np.random.default_rng(0)
    for delta in (1, 1e-2, 1e-6):
        part = minvol(1.0, delta)
        f = rng.random((7, 3)) + 0.01
        assert part.value(part.stat(f)) == pytest.approx(volume(f, delta), rel=1e-12)
        up, down = volume_halves(f, delta)
        surrogate = part.surrogate(f, part.stat(f))
        np.testing.assert_allclose(surrogate[2.0], 2 * up, rtol=1e-9)
        np.testing.assert_allclose(surrogate[1.0], -4 * down, rtol=1e-9, atol=1e-9 * up.max())


# --- coupled and summed steps for other β ----------------------------------------------------------------------


def case(seed, beta, shape=(12, 4), n=9):
    rng = np.random.default_rng(seed)
    x = rng.gamma(0.7, size=(shape[0], n)) + 0.01
    w, h = rng.random(shape) + 0.01, rng.random((shape[1], n)) + 0.01
    return w, *halves(x, w, h, beta), rng.random(shape) + 0.01


def surrogates(w, c, d, prior, weight, beta):
    """The loss's and the coupling's, from nmfkit's own loss."""
    from nmfkit.terms import Halves

    loss = registry().build("loss", f"beta:{beta}")
    tie = {power: weight * part for power, part in loss.data_surrogate(w, prior).items()}
    return plus(loss.surrogate(Halves(d, c)), tie)


@pytest.mark.parametrize("weight", [1e-3, 0.1, 1.0, 100.0, 1e4])
@pytest.mark.parametrize("beta", [0, 0.5, 1, 1.5, 2])
def test_coupled_steps_are_the_closed_forms(beta, weight):
    w, c, d, prior = case(0, beta)
    closed = coupled(w, c, d, prior, weight, beta)
    np.testing.assert_allclose(row_step(w, c, d, beta, Layer(), prior, weight), closed, rtol=1e-13)
    np.testing.assert_allclose(w * root(surrogates(w, c, d, prior, weight, beta)), closed, rtol=1e-12)


@pytest.mark.parametrize("weight", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("beta", [-1, -0.5, 0, 0.5, 1, 1.25, 1.5, 2])
def test_coupled_steps_with_sums_are_exact(beta, weight):
    w, c, d, prior = case(1, beta)
    w = w / w.sum(0)
    found = w * found_sums(surrogates(w, c, d, prior, weight, beta), w, 1.0, False)
    np.testing.assert_allclose(found.sum(0), 1, rtol=0, atol=1e-12)
    exact = row_step(w, c, d, beta, Layer(), prior, weight, 1.0)
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("across", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("beta", [-1, -0.5, 0, 0.5, 1, 1.25, 1.5, 2, 3])
def test_plain_steps_with_sums_are_exact(beta, across):
    from nmfkit.terms import Halves

    w, c, d, _ = case(2, beta)
    surrogate = registry().build("loss", f"beta:{beta}").surrogate(Halves(d, c))
    found = w * found_sums(surrogate, w, 1.0, across)
    turned = [a.T if across else a for a in (w, c, d)]
    exact = row_step(*turned, beta, Layer(), total=1.0)
    np.testing.assert_allclose(found.sum(int(across)), 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found, exact.T if across else exact, rtol=1e-9, atol=1e-15)


def test_no_collapse_at_a_small_weight():
    """W̄ eᵃ with a ∝ 1/λ overflows for λ = 1e-3: a step that computes it returns the floor."""
    rng = np.random.default_rng(3)
    w, c, d, prior = rng.random((20, 3)) + 0.5, rng.random((20, 3)) + 0.5, rng.random((20, 3)) + 0.5, np.ones((20, 3))
    found = w * root(surrogates(w, c, d, prior, 1e-3, 1))
    np.testing.assert_allclose(found, w * c / d, rtol=1e-2)  # nearly the step without coupling
    np.testing.assert_allclose(found, coupled(w, c, d, prior, 1e-3, 1), rtol=1e-12)


def test_the_multiplier_does_not_cancel_at_minus_one():
    """Sums for β = −1 where one denominator is far below the rest: min D − μ must be the unknown, not μ."""
    w = np.array([[1e-9], [0.5], [0.5], [1e-3]])
    c, d = np.array([[1e-12], [1.0], [1e-3], [1e-9]]), np.array([[1e6], [1e6 + 1e-7], [2e6], [1e6]])
    from nmfkit.terms import Halves

    loss = registry().build("loss", "beta:-1")
    found = w * found_sums(loss.surrogate(Halves(d, c)), w, 1.0, False)
    assert np.isfinite(found).all()
    assert found.sum() == pytest.approx(1, abs=1e-12)


def test_three_halves_with_sums_lowers_the_loss_where_a_quotient_raises_it():
    """C/(D − μ), the update of β = 1, raises D₃⸝₂ from 42.168 to 59.044 here; the exact step reaches 42.124."""
    from oracles.deep import column_step
    from oracles.divergence import divergence

    from nmfkit.terms import Halves

    x, w, h = np.array([[0.01, 0.01]]), np.array([[10.0, 10.0]]), np.array([[0.1, 0.9], [0.99, 0.01]])
    assert divergence(x, w @ h, 1.5) == pytest.approx(42.168, abs=1e-3)
    c, d = halves(x.T, h.T, w.T, 1.5)
    t = found_sums(registry().build("loss", "beta:1.5").surrogate(Halves(d, c)), h.T.copy(), 1.0, False)
    new = h * t.T
    assert divergence(x, w @ new, 1.5) == pytest.approx(42.124, abs=1e-3)
    np.testing.assert_allclose(new, column_step(x, w, h, 1.5, 1.0), rtol=1e-10)
