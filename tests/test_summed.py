"""Steps that hold the sums of columns or rows are the minimisers of their surrogates among all that do."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

from nmfkit import stats as statistics_
from nmfkit.multipliers import Multipliers
from nmfkit.summed import held, searched, statistics, stepped, summed_root
from nmfkit.surrogate import LOG, root
from nmfkit.terms import Penalty
from nmfkit.testing import to_device, to_host
from nmfkit.testing.strategies import chunkings

BETAS = [-1.0, -0.5, 0.0, 0.5, 1.0, 4 / 3, 1.5, 2.0, 2.5, 3.0]
EXTRAS = ["none", "volume", "prior", "both"]


def surrogate_of(beta, pos, neg, extra="none", weight=1.0):
    """That of a β-divergence, with what a volume or a divergence from a prior adds."""
    found = {max(beta, 1.0): pos}
    found[min(beta - 1, 1.0)] = found.get(min(beta - 1, 1.0), 0) - neg
    if extra in ("volume", "both"):
        found[2.0] = found.get(2.0, 0) + weight * neg
        found[1.0] = found.get(1.0, 0) - weight * pos
    if extra in ("prior", "both"):
        found[LOG] = np.full_like(pos, weight)
        found[1.0] = found.get(1.0, 0) + weight * np.log(neg / pos)
    return found


@st.composite
def problems(draw, most=9, sizes=(-2, 2), beta=None, extra=None, floor=None):
    """A surrogate and a factor whose sums are `total`, or are not yet."""
    beta = draw(st.sampled_from(BETAS)) if beta is None else beta
    shape = draw(st.integers(1, most)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pos, neg = (10 ** rng.uniform(*sizes, size=shape) for _ in range(2))
    f = 10 ** rng.uniform(-3, 0, size=shape)
    across = draw(st.booleans())
    total = draw(st.sampled_from([1.0, 1e-4, 1e3]))
    if draw(st.booleans()):
        f *= total / f.sum(axis=int(across), keepdims=True)
    extra = draw(st.sampled_from(EXTRAS)) if extra is None else extra
    weight = 10.0 ** draw(st.integers(-3, 3))
    return surrogate_of(beta, pos, neg, extra, weight), f, total, across


def sums(f, across):
    return np.sum(f, axis=int(across), keepdims=True)


def derivative(surrogate, t):
    """The derivative, and the sum of its terms' sizes."""
    with np.errstate(divide="ignore"):
        terms = [c * (np.log(t) if p == LOG else t ** (p - 1)) for p, c in surrogate.items()]
    return np.sum(terms, axis=0), np.sum(np.abs(terms), axis=0)


def majoriser(surrogate, f, t):
    """Σ of f ∫ g dt from t = 1, entry by entry, for positive t where there is a power below 1."""
    total = np.zeros_like(f)
    for p, c in surrogate.items():
        if p == LOG:
            grown = np.where(t > 0, t * np.log(np.maximum(t, 1e-300)), 0) - t + 1
        else:
            grown = np.log(t) if p == 0 else (t**p - 1) / p
        total = total + c * grown
    return f * total


@given(problems())
def test_the_sums_are_right(problem):
    surrogate, f, total, across = problem
    t = summed_root(surrogate, f, total, across)
    assert (t >= 0).all()
    np.testing.assert_allclose(sums(f * t, across), total, rtol=1e-12)


@given(problems())
def test_all_entries_of_a_group_have_one_multiplier(problem):
    surrogate, f, total, across = problem
    t = summed_root(surrogate, f, total, across)
    slope, size = derivative(surrogate, t)
    live, axis = f * t > 1e-9 * total, int(across)
    size = np.max(np.where(live, size, 0), axis=axis, keepdims=True)
    most = np.max(np.where(live, slope, -np.inf), axis=axis, keepdims=True)
    least = np.min(np.where(live, slope, np.inf), axis=axis, keepdims=True)
    assert (most - least <= 1e-8 * size).all()
    bound = np.where(t == 0, slope, np.inf)
    assert (bound >= most - 1e-8 * size).all(), "what is zero would rather grow"


@given(problems())
def test_the_majorised_function_never_rises(problem):
    surrogate, f, total, across = problem
    f = f * (total / sums(f, across))
    t = summed_root(surrogate, f, total, across)
    change = majoriser(surrogate, f, np.maximum(t, 1e-300))
    size = np.sum([f * np.abs(c) for c in surrogate.values()], axis=0)
    assert (sums(change, across) <= 1e-11 * sums(np.abs(change), across) + 1e-13 * sums(size, across)).all()


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("extra", EXTRAS)
def test_it_is_what_two_scalar_searches_find(beta, extra):
    rng = np.random.default_rng(3)
    pos, neg = rng.uniform(0.3, 3, (6, 1)), rng.uniform(0.3, 3, (6, 1))
    f = rng.dirichlet(np.ones(6))[:, None]
    surrogate = surrogate_of(beta, pos, neg, extra, 0.7)

    def entry(i, mu):
        def slope(z):
            return derivative({p: c[i, 0] for p, c in surrogate.items()}, np.exp(z))[0] - mu

        return 0.0 if slope(-60) >= 0 else np.exp(scipy.optimize.brentq(slope, -60, 60, xtol=1e-15))

    def excess(mu):
        return sum(f[i, 0] * entry(i, mu) for i in range(6)) - 1

    end = min(1e3, np.min(surrogate[1.0])) if beta <= 1 and extra == "none" else 30 if extra == "prior" else 1e3
    mu = scipy.optimize.brentq(excess, -1e3, end - 1e-9, xtol=1e-14, rtol=1e-14)
    expected = np.array([[entry(i, mu)] for i in range(6)])
    np.testing.assert_allclose(summed_root(surrogate, f, 1.0), expected, rtol=1e-9, atol=1e-12)


@given(problems(extra="none", beta=1.0))
def test_equal_slopes_of_kullback_leibler_need_no_search(problem):
    """Multiplicative update, then rescaling, is the exact step there; the third pass only sees that it is right."""
    surrogate, f, total, across = problem
    surrogate[1.0] = np.full_like(surrogate[1.0], 3.0)
    state = searched(surrogate, f, total, across)
    assert state.steps == 1
    new = f * -surrogate[0.0]
    np.testing.assert_allclose(held(surrogate, f, state), new * total / sums(new, across), rtol=1e-12)


@given(problems(most=40))
def test_a_search_takes_few_passes(problem):
    """Each is a reduction where rows are sharded; a bisection would take more than 50."""
    assert searched(*problem).steps <= 40


def test_a_slope_that_only_rises_hides_no_digits_of_those_that_fall():
    """Nearly all of the sum lies in entry 1, whose pull is 10⁻¹² of the difference between the slopes."""
    f = np.array([[0.5], [1e-7]])
    surrogate = {2.0: np.array([[0.6], [0.0]]), 1.0: np.array([[-1.9], [-0.6]]), -1.0: np.array([[-0.5], [-0.5]])}
    t = summed_root(surrogate, f, 50.0)
    slope, _ = derivative(surrogate, t)
    np.testing.assert_allclose(slope[0], slope[1], rtol=1e-12)
    np.testing.assert_allclose(np.sum(f * t), 50.0, rtol=1e-14)


# --- limits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [-1.0, -0.5, 0.0])
def test_small_pulls_beside_great_slopes_lose_no_digits(beta):
    """D − μ of the usual form is rounding alone here: it gives a division by zero, or any number at all."""
    slope, share = np.full((5, 1), 1e8), np.array([[1.0], [2.0], [3.0], [4.0], [5.0]])
    pull, f = 1e-12 * share, np.full((5, 1), 0.2)
    gamma = 1 / (2 - beta)
    expected = share**gamma / np.sum(f * share**gamma)
    t = summed_root({1.0: slope, beta - 1: -pull}, f, 1.0)
    np.testing.assert_allclose(t, expected, rtol=1e-13)
    mu = slope[0, 0] - (np.sum(f * pull**gamma)) ** (1 / gamma)
    with np.errstate(divide="ignore"):
        usual = (pull / (slope - mu)) ** gamma
    assert not np.allclose(np.sum(f * usual), 1.0, rtol=1e-3)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("extra", EXTRAS)
def test_a_group_of_one_is_the_total(beta, extra):
    rng = np.random.default_rng(0)
    f = np.array([[1e-300, 1e-8, 0.3, 4.0, 1e9]])
    surrogate = surrogate_of(beta, rng.gamma(2.0, size=f.shape), rng.gamma(2.0, size=f.shape), extra)
    np.testing.assert_allclose(f * summed_root(surrogate, f, 2.0), 2.0, rtol=1e-14)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("extra", EXTRAS)
def test_entries_at_the_least_floor_are_no_trouble(beta, extra):
    rng = np.random.default_rng(1)
    f = rng.dirichlet(np.ones(8), size=3).T
    f[2:5, 1] = 1e-300
    surrogate = surrogate_of(beta, rng.gamma(2.0, size=f.shape), rng.gamma(2.0, size=f.shape), extra)
    new = f * summed_root(surrogate, f, 1.0)
    np.testing.assert_allclose(new.sum(0), 1.0, rtol=1e-12)
    assert (new[2:5, 1] <= 1e-200).all()


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("extra", ["none", "volume"])
def test_entries_without_pull_leave_the_sum_to_the_others(beta, extra):
    rng = np.random.default_rng(2)
    f = rng.dirichlet(np.ones(8), size=3).T
    pos, neg = rng.gamma(2.0, size=f.shape), rng.gamma(2.0, size=f.shape)
    neg[::2] = 0
    new = f * summed_root(surrogate_of(beta, np.full_like(pos, 2.0), neg, extra), f, 1.0)
    np.testing.assert_allclose(new.sum(0), 1.0, rtol=1e-12)


def test_a_slope_below_all_others_takes_what_they_leave():
    """Entry 0 is pulled by nothing and has the least slope: at the minimum its derivative is the multiplier."""
    f = np.full((3, 1), 1 / 3)
    slope, pull = np.array([[1.0], [2.0], [3.0]]), np.array([[0.0], [1.0], [1.0]])
    t = summed_root({1.0: slope, 0.0: -pull}, f, 1.0)
    np.testing.assert_allclose(t[1:, 0], [1.0, 0.5], rtol=1e-12)
    np.testing.assert_allclose(t[0, 0], 1.5, rtol=1e-12)
    t = summed_root({1.0: slope, 0.0: -9 * pull}, f, 1.0)
    np.testing.assert_allclose(t[0, 0], 0.0, atol=1e-15)


@pytest.mark.parametrize("powers", [(1.0, 0.0), (2.0, 1.0), (1.0, -1.0), (2.0, 1.0, 0.0), (1.0,), (1.0, 0.0, LOG)])
def test_a_group_that_nothing_bends_keeps_its_proportions(powers):
    f = np.array([[0.1, 1.0], [0.3, 2.0]])
    surrogate = {p: np.zeros_like(f) for p in powers} | {1.0: np.array([[1.0], [2.0]])}
    np.testing.assert_allclose(f * summed_root(surrogate, f, 1.0), f / f.sum(0), rtol=1e-14)


@pytest.mark.parametrize("beta", [0.0, 1.0, 1.5, 2.0, 3.0])
def test_a_group_of_zeros_becomes_equal_shares(beta):
    rng = np.random.default_rng(0)
    f = rng.dirichlet(np.ones(4), size=3).T
    f[:, 1] = 0
    f[2, 2] = 0
    surrogate = surrogate_of(beta, rng.gamma(2.0, size=f.shape), rng.gamma(2.0, size=f.shape))
    new = stepped(f, surrogate, Penalty((Columns(),), ((),)), 0.0)
    np.testing.assert_allclose(new.sum(0), 1.0, rtol=1e-14)
    np.testing.assert_allclose(new[:, 1], 0.25, rtol=1e-14)
    assert new[2, 2] == 0
    assert (summed_root(surrogate, f, 1.0)[:, 1] == 1).all()


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("exponent", [-30, 30])
def test_any_scale_of_the_surrogate_gives_the_same_step(beta, exponent):
    rng = np.random.default_rng(5)
    f, pos, neg = rng.dirichlet(np.ones(20), size=3).T, rng.gamma(2.0, size=(20, 3)), rng.gamma(2.0, size=(20, 3))
    surrogate = surrogate_of(beta, pos, neg, "both")
    scaled = {p: c * 10.0**exponent for p, c in surrogate.items()}
    np.testing.assert_allclose(summed_root(scaled, f, 1.0), summed_root(surrogate, f, 1.0), rtol=1e-10, atol=1e-14)


@given(problems(sizes=(-20, 20)))
def test_no_magnitude_gives_a_warning_or_breaks_the_sum(problem):
    surrogate, f, total, across = problem
    new = f * summed_root(surrogate, f, total, across)
    np.testing.assert_allclose(sums(new, across), total, rtol=1e-12)


# --- floors and precision -----------------------------------------------------------------------------------


class Columns:
    """Columns sum to 1."""

    total, across = 1.0, False

    def stat(self, f):
        return ()

    def value(self, stat):
        return 0.0

    def onto(self, f):
        return f / f.sum(0)


class Rows(Columns):
    """Rows sum to 1."""

    across = True


@given(problems(), st.sampled_from([1e-16, 1e-9, 1e-2]))
def test_floors_are_held_and_the_others_make_up_for_them(problem, floor):
    surrogate, f, total, across = problem
    state = searched(surrogate, f, total, across, floor)
    new = held(surrogate, f, state)
    assert (new >= state.least).all()
    assert state.least == min(floor, 1e-6 * total / f.shape[int(across)])
    np.testing.assert_allclose(sums(new, across), total, rtol=1e-12)


@given(problems(most=40), st.sampled_from([0.0, 1e-16]))
def test_float32_factors_have_exact_multipliers(problem, floor):
    surrogate, f, total, across = problem
    narrow = {p: c.astype(np.float32) for p, c in surrogate.items()}
    f = f.astype(np.float32)
    new = held(narrow, f, searched(narrow, f, total, across, floor))
    t = summed_root(narrow, f, total, across, floor)
    assert new.dtype == t.dtype == np.float32
    assert (new >= floor).all() or floor > 1e-6 * total / f.shape[int(across)]
    np.testing.assert_allclose(sums(new.astype(np.float64), across), total, rtol=1e-6)
    wide = {p: c.astype(np.float64) for p, c in narrow.items()}
    np.testing.assert_allclose(
        new,
        held(wide, f.astype(np.float64), searched(wide, f.astype(np.float64), total, across, floor)),
        rtol=1e-6,
        atol=1e-37,
    )


# --- the step that rules take -------------------------------------------------------------------------------


@given(problems())
def test_without_sums_it_is_the_plain_step(problem):
    surrogate, f, _, _ = problem
    expected = np.maximum(f * root(surrogate), 1e-16)
    np.testing.assert_array_equal(stepped(f, surrogate, Penalty(), 1e-16), expected)


@pytest.mark.parametrize("part", [Columns(), Rows()])
@given(problem=problems())
def test_with_sums_it_is_the_held_step(part, problem):
    surrogate, f, _, _ = problem
    penalty = Penalty((part,), ((),))
    assert penalty.sums is part
    assert penalty.surrogates(f) == []
    new = stepped(f, surrogate, penalty, 1e-16)
    np.testing.assert_allclose(sums(new, part.across), 1.0, rtol=1e-12)
    np.testing.assert_allclose(
        new, np.maximum(f * summed_root(surrogate, f, 1.0, part.across, 1e-16), 1e-16), rtol=1e-12
    )


# --- shards -------------------------------------------------------------------------------------------------


def through_a_store(state):
    """What a run store keeps: numbers and arrays by name."""
    return Multipliers.of(
        {name: np.array(value) if np.ndim(value) else value for name, value in state.as_dict().items()}
    )


@given(problems(most=12), st.data(), st.sampled_from([0.0, 1e-16, 1e-3]))
def test_shards_find_what_the_whole_finds(problem, data, floor):
    surrogate, f, total, _ = problem
    ranges = data.draw(chunkings(len(f)))
    parts = [({p: c[a:b] for p, c in surrogate.items()}, f[a:b]) for a, b in ranges]
    state = Multipliers(total, False, floor)
    while not state.done:
        gathered = None
        for part, rows in parts:
            found = statistics(part, rows, state)
            gathered = statistics_.widen(found) if gathered is None else statistics_.add(gathered, found)
        state = through_a_store(state.next(gathered))
    new = np.concatenate([held(part, rows, state) for part, rows in parts])
    whole = held(surrogate, f, searched(surrogate, f, total, False, floor))
    np.testing.assert_allclose(new.sum(0), total, rtol=1e-12)
    np.testing.assert_allclose(new, whole, rtol=1e-9, atol=1e-12 * total)
    penalty = Penalty((Columns(),), ((),), state)
    for (part, rows), (a, b) in zip(parts, ranges, strict=True):
        np.testing.assert_array_equal(stepped(rows, part, penalty, floor), new[a:b])


@given(problems(most=6))
def test_it_runs_on_a_device(problem):
    surrogate, f, total, across = problem
    found = to_host(summed_root(to_device(surrogate), to_device(f), total, across))
    np.testing.assert_array_equal(found, summed_root(surrogate, f, total, across))
