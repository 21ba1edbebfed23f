"""Sums held at 1: what they mean, how exactly they are met, that steps still go down, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmfkit_plugins.beta.divergence import beta_divergence
from nmfkit_plugins.beta.multiplicative import Multiplicative
from nmfkit_plugins.minvol.sum_to_one import SumToOne

import nmfkit
from nmfkit.blocks import Dense
from nmfkit.check import resolve
from nmfkit.errors import Incompatible, UsageError
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.plan import make_plan
from nmfkit.lowrank import LowRank
from nmfkit.probe import survey
from nmfkit.problem import Problem
from nmfkit.protocols import Meeting, Moment, Penalty, Term
from nmfkit.start import Given
from nmfkit.testing import Chunked
from nmfkit.testing import strategies as some
from nmfkit.testing.compare import roundoff

BETAS = (-0.5, 0, 0.5, 1, 1.5, 2)
HELD = {
    "columns of W": ({"reg_w": "sum-to-one"}, "w", 0),
    "rows of W": ({"reg_w": "sum-to-one:rows"}, "w", 1),
    "rows of H": ({"reg_h": "sum-to-one"}, "h", 1),
    "columns of H": ({"reg_h": "sum-to-one:columns"}, "h", 0),
}
SAME = [
    ({"reg_w": "sum-to-one"}, {"reg_w": "sum-to-one:columns"}),
    ({"reg_h": "sum-to-one"}, {"reg_h": "sum-to-one:rows"}),
    ({"reg_h": "sum-to-one:components"}, {"reg_h": "sum-to-one:rows"}),
]
RNG = np.random.default_rng(3)
X = RNG.gamma(0.7, size=(30, 4)) @ RNG.gamma(0.7, size=(4, 20)) + 1e-3


def fit(x, **options):
    return nmfkit.fit(x, **{"rank": 3, "rule": "mu", "tol": 0, "max_sweeps": 12, "threads": 1, **options})


def largest_miss(fitted, factor, axis):
    return np.abs(getattr(fitted, factor).sum(axis=axis) - 1).max()


# --- what it means ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("loss", ["kl", "frobenius", "beta:0.5"])
@pytest.mark.parametrize("extrapolate", [True, False])
def test_the_sums_are_met(held, loss, extrapolate):
    options, factor, axis = HELD[held]
    fitted = fit(X, loss=loss, rule=f"mu:extrapolate={extrapolate},joint={extrapolate}", **options)
    assert largest_miss(fitted, factor, axis) < 1e-12
    assert largest_miss(fitted, factor, 1 - axis) > 1e-3  # which the others are not


@pytest.mark.parametrize(("one", "other"), SAME)
def test_components_are_columns_of_w_and_rows_of_h(one, other):
    np.testing.assert_array_equal(fit(X, **one).history.objective, fit(X, **other).history.objective)


def test_rows_of_shares_and_components_that_are_distributions_go_together():
    x = X / X.sum(axis=1, keepdims=True)
    fitted = fit(x, loss="kl", reg_w="sum-to-one:rows", reg_h="sum-to-one", max_sweeps=400)
    assert largest_miss(fitted, "w", 1) < 1e-12
    assert largest_miss(fitted, "h", 1) < 1e-12
    free = fit(x, loss="kl", max_sweeps=400)
    assert fitted.objective < 1.2 * free.objective + 1e-3  # nothing is lost: the scale of components is free


def test_a_start_keeps_its_product():
    w, h = RNG.random((30, 3)), RNG.random((3, 20))
    for held in ("columns of W", "rows of H"):
        options, factor, axis = HELD[held]
        resolved = resolve(Problem(ranks=(3,), rule="mu", **{name: (part,) for name, part in options.items()}))
        source = Chunked(X, [(0, 7), (7, 30)])
        plan = make_plan(source, width=3, dtype=np.float64, elementwise=True, forms_product=False, threads=1)
        with LocalExecutor(source, plan) as executor:
            probe = survey(executor.sweep, source)
            rows, shared = resolved.model.start(Given(w, h, None), executor.sweep, probe, 0, np.float64)
            found = {"w": rows.read(0, 30)["w"], "h": shared["h"]}
        np.testing.assert_allclose(found["w"] @ found["h"], w @ h, rtol=1e-12)
        np.testing.assert_allclose(found[factor].sum(axis=axis), 1, rtol=1e-12)


def test_entries_that_are_all_zero_become_equal():
    assert (SumToOne().onto(np.zeros((4, 2))) == 0.25).all()
    assert (SumToOne("rows").of_factor("w").onto(np.zeros((3, 5))) == 0.2).all()


# --- steps --------------------------------------------------------------------------------------------------


def step_in_h(x, w, h, beta):
    """The next H by the multiplicative rule, with rows that sum to 1."""
    loss, part = beta_divergence(beta), SumToOne().of_factor("h")
    rule = Multiplicative()
    term = Term.of(Meeting(loss, Dense(x), LowRank(w, h), right=True), turned=True)
    moment, penalty = Moment(1e-300), Penalty((part,), ((),))
    return rule.update(h.T, loss, rule.prepare(loss, w), rule.gather(term), penalty, moment).T


def test_the_step_is_exact_where_a_formula_of_another_loss_goes_up():
    # For β = 3/2 the rule of β = 1, h C / (D − μ), has been used; here it raises the divergence.
    x, w = np.array([[0.01, 0.01]]), np.array([[10.0, 10.0]])
    h = np.array([[0.1, 0.9], [0.99, 0.01]])
    loss = beta_divergence(1.5)

    def value(h):
        return loss.value(Dense(x), LowRank(w, h))

    assert value(h) == pytest.approx(42.168, abs=5e-4)
    assert value(step_in_h(x, w, h, 1.5)) == pytest.approx(42.124, abs=5e-4)
    y = w @ h
    c, d = w.T @ (x * y**-0.5), w.T @ y**0.5
    lo, hi = d.min(axis=1, keepdims=True) - 1e3, d.min(axis=1, keepdims=True)
    for _ in range(200):
        middle = (lo + hi) / 2
        more = (h * c / (d - middle)).sum(axis=1, keepdims=True) > 1
        lo, hi = np.where(more, lo, middle), np.where(more, middle, hi)
    assert value(h * c / (d - (lo + hi) / 2)) == pytest.approx(59.044, abs=5e-3)


def test_for_kullback_leibler_the_step_is_a_rescaled_one():
    w, h = RNG.random((30, 3)), SumToOne().onto(RNG.random((20, 3))).T
    numerator = h * (w.T @ (X / (w @ h)))
    np.testing.assert_allclose(step_in_h(X, w, h, 1), numerator / numerator.sum(axis=1, keepdims=True), rtol=1e-10)


@pytest.mark.parametrize("beta", [*BETAS, -1, 2.5, 3])
def test_no_other_step_to_the_same_sums_has_a_lower_majoriser(beta):
    w, h = RNG.random((30, 3)) + 0.1, SumToOne().onto(RNG.random((20, 3)) + 0.1).T
    loss, rule = beta_divergence(beta), Multiplicative()
    term = Term.of(Meeting(loss, Dense(X), LowRank(w, h), right=True), turned=True)
    surrogate = loss.surrogate(rule.gather(term).formed())

    def majoriser(new):
        t, f = new.T / h.T, h.T
        return sum(float(np.sum(f * c * (np.log(t) if p == 0 else t**p / p))) for p, c in surrogate.items())

    best = step_in_h(X, w, h, beta)
    assert np.abs(best.sum(axis=1) - 1).max() < 1e-12
    lowest = majoriser(best)
    for size in (1e-3, 1e-1):
        for _ in range(20):
            rival = SumToOne().onto(best.T * np.exp(size * RNG.standard_normal(best.T.shape))).T
            assert lowest <= majoriser(rival) + 1e-12 * abs(lowest)


@st.composite
def problems(draw, beta):
    x = some.with_something(draw(some.matrices(positive=beta <= 0, scales=(1.0, 1e3))))
    held = draw(st.sampled_from(sorted(HELD)))
    options = dict(HELD[held][0])
    other = "reg_h" if "reg_w" in options else "reg_w"
    options |= draw(st.sampled_from(({}, {other: "l1:0.1"}, {other: "l2:0.1"})))
    return Chunked(x, draw(some.chunkings(len(x)))), held, options, draw(some.ranks), draw(st.integers(0, 9))


@pytest.mark.parametrize("beta", BETAS)
def test_objective_never_rises_and_sums_are_met(beta):
    @given(problems(beta))
    def holds(drawn):
        source, held, options, rank, seed = drawn
        fitted = fit(source, loss=f"beta:{beta}", rank=rank, seed=seed, **options)
        objectives = fitted.history.objective
        slack = 1e-9 * np.abs(objectives[:-1]) + 10 * roundoff(fitted.model.parts.loss, Dense(source.x))
        assert not (np.diff(objectives) > slack).any(), objectives.tolist()
        _, factor, axis = HELD[held]
        assert largest_miss(fitted, factor, axis) < 1e-12

    holds()


@pytest.mark.parametrize("beta", [2.5, 3])
@pytest.mark.parametrize("held", ["rows of W", "rows of H", "columns of H"])
def test_steeper_losses_hold_every_sum_that_is_at_hand(held, beta):
    options, factor, axis = HELD[held]
    fitted = fit(X, loss=f"beta:{beta}", **options)
    assert largest_miss(fitted, factor, axis) < 1e-12
    assert (np.diff(fitted.history.objective) <= 1e-9 * fitted.history.objective[0]).all()


@pytest.mark.parametrize("held", ["rows of W", "rows of H", "columns of H"])
def test_groups_of_blocks_hold_the_sums_too(held):
    options, factor, axis = HELD[held]
    source = Chunked(X, [(0, 9), (9, 20), (20, 30)])
    fitted = fit(source, loss="kl", rule="online:mu,parts=3", max_sweeps=30, **options)
    assert largest_miss(fitted, factor, axis) < 1e-12
    assert fitted.objective == pytest.approx(fit(X, loss="kl", max_sweeps=200, **options).objective, rel=0.2)


@pytest.mark.parametrize("held", HELD)
def test_a_pilot_and_missing_entries_go_with_sums(held):
    options, factor, axis = HELD[held]
    x = np.tile(X, (12, 1))
    assert largest_miss(fit(x, loss="kl", pilot=40, **options), factor, axis) < 1e-12
    masked = fit(X, loss="kl", mask=RNG.random(X.shape) < 0.8, **options)
    assert largest_miss(masked, factor, axis) < 1e-12
    assert (np.diff(masked.history.objective) <= 1e-9 * masked.history.objective[0]).all()


# --- new rows -----------------------------------------------------------------------------------------------


def test_new_rows_are_shares_where_the_rows_of_the_fit_are():
    fitted = fit(X, loss="kl", reg_w="sum-to-one:rows", max_sweeps=50)
    new = fitted.transform(X[:7] * 0.3)
    np.testing.assert_allclose(new.sum(axis=1), 1, rtol=1e-12)


def test_new_rows_know_nothing_of_the_sums_of_columns():
    held = fit(X, loss="kl", reg_w="sum-to-one", max_sweeps=50)
    new = held.transform(X, tol=1e-9, max_sweeps=3000)
    assert np.abs(new.sum(axis=0) - 1).max() < 0.2  # which they nearly have, as the fit is close
    few = held.transform(X[:7], tol=1e-9, max_sweeps=3000)
    np.testing.assert_allclose(few, new[:7], rtol=1e-6, atol=1e-9)


# --- refusals -----------------------------------------------------------------------------------------------

REFUSED = [
    ({"rule": "hals", "reg_h": "sum-to-one"}, "rule 'hals' cannot use regularizer 'sum-to-one' on H.*--rule mu"),
    ({"rule": "compressed", "reg_w": "sum-to-one:rows"}, "rule 'compressed' cannot use.*on W.*--rule mu"),
    ({"rule": "scd", "loss": "kl", "reg_h": "sum-to-one"}, "rule 'scd' cannot use.*--rule mu"),
    ({"rule": "online:hals", "reg_h": "sum-to-one"}, "cannot use regularizer 'sum-to-one' on H"),
    ({"rule": "online", "reg_w": "sum-to-one"}, "never sees whole columns.*--rule mu"),
    ({"rule": "mu", "reg_h": ["sum-to-one", "sum-to-one:columns"]}, "fix sums of the same entries"),
    ({"rule": "mu", "reg_w": ["sum-to-one:rows", "sum-to-one:rows"]}, "fix sums of the same entries"),
    ({"rule": "mu", "reg_w": "sum-to-one", "reg_h": "sum-to-one"}, "no component can have a size"),
    ({"rule": "mu", "loss": "beta:3", "reg_w": "sum-to-one"}, "use β ≤ 2, or hold the rows of H"),
    ({"rule": "mu", "reg_h": "sum-to-one:diagonal"}, "components, rows or columns"),
    ({"rule": "mu", "reg_h": "sum-to-one:rows,total=2"}, "unknown parameter 'total'"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_hold_is_refused(options, message):
    with pytest.raises(UsageError, match=f"(?s){message}"):
        nmfkit.fit(X, rank=2, **options)


def test_every_misfit_is_told_at_once():
    with pytest.raises(Incompatible) as caught:
        resolve(Problem(loss="beta:3", ranks=(2, 2), rule="mu", reg_w=("sum-to-one",), reg_h=("sum-to-one",)))
    text = str(caught.value)
    assert all(part in text for part in ("one rank", "no component can have a size", "β ≤ 2"))


def test_the_rule_is_chosen_with_the_constraint_in_mind():
    assert resolve(Problem(ranks=(2,), reg_h=("sum-to-one",))).problem.rule == "mu"
    assert resolve(Problem(ranks=(2,), reg_h=("minvol:1",))).problem.rule == "hals"
