"""The rule that fits a low-rank approximation of A first."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmfkit_plugins.symnmf.lai import LAI
from nmfkit_plugins.symnmf.range_finder import dominant_range, drawn
from nmfkit_plugins.symnmf.worth import SMALL, worth_it
from symmetric import beginning, facts_of, planted, similarity

import nmfkit
from nmfkit.blocks import Dense
from nmfkit.errors import Caution, UsageError
from nmfkit.probe import survey
from nmfkit.testing import Chunked


def within(a, width, passes=10):
    return dominant_range(lambda v: a @ v, drawn(len(a), width, 0, a.dtype), np.linalg.norm(a), tol=1e-3, passes=passes)


def exact(rule, a, h, lam, sweeps):
    """V after so many sweeps over A itself, columns in turn."""
    u, v = h.copy(), h.copy()
    for _ in range(sweeps):
        for f, other in ((u, v), (v, u)):
            q, c = other.T @ other + lam * np.eye(len(h.T)), a @ other + lam * other
            for k in range(h.shape[1]):
                f[:, k] = np.maximum(0, f[:, k] + (c[:, k] - f @ q[:, k]) / q[k, k])
    return v


def noisy(n=300, rank=6, seed=0, noise=0.05):
    rng = np.random.default_rng(seed)
    a, h = planted(n, rank, seed)
    e = rng.random((n, n))
    return a + noise * (e + e.T), h


def fitted(a, rank=6, **options):
    options = {"max_sweeps": 5, "tol": 0, "threads": 1, "init": "random", **options}
    return nmfkit.fit(a, model="symnmf", rank=rank, **options)


# --- exactness ----------------------------------------------------------------------------------------------


@given(st.integers(1, 12), st.booleans(), st.integers(0, 2**32))
def test_as_many_columns_as_rows_are_the_matrix_itself(n, defective, seed):
    a = np.random.default_rng(seed).standard_normal((n, n))
    a = a + a.T
    if defective and n > 1:
        a[:, 0] = a[0] = 0
    found = within(a, n)
    assert found.passes == 1
    np.testing.assert_allclose((found.vectors * found.values) @ found.vectors.T, a, atol=1e-10)
    assert found.error < 1e-6


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("warm", [1, 4])
def test_its_fit_with_all_columns_is_symhals(warm, signed):
    a = similarity(signed=signed)
    h = beginning(a)
    v = LAI(lam="0.7", warm=warm)._fitted(within(a, len(a)), h, facts_of(a))
    np.testing.assert_allclose(v, exact(LAI(), a, h, 0.7, warm), atol=1e-10)


@pytest.mark.parametrize("init", ["random", "eigen"])
def test_a_node_without_a_neighbour_stays_without_a_row(init):
    w = fitted(similarity(), 4, rule="lai", init=init).w
    assert not w[[3, 11]].any()
    assert w.any(axis=1).sum() == len(w) - 2


def test_it_ends_when_nothing_changes_any_more():
    a = planted()[0]
    h = beginning(a)
    rule, more = (LAI(lam="0.3", warm=warm) for warm in (2000, 4000))
    found = [r._fitted(within(a, 12), h, facts_of(a)) for r in (rule, more)]
    np.testing.assert_array_equal(*found)
    assert not np.array_equal(found[0], LAI(lam="0.3", warm=5)._fitted(within(a, 12), h, facts_of(a)))


# --- fits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_sparse", [False, True])
def test_a_dense_matrix_is_nearly_fitted_before_the_first_sweep(is_sparse):
    a = noisy()[0]
    x = Chunked(a, [(0, 100), (100, 300)], is_sparse=is_sparse)
    prepared, plain, long = fitted(x, rule="lai"), fitted(a, rule="symhals"), fitted(a, rule="symhals", max_sweeps=150)
    assert prepared.objective < 0.5 * plain.objective
    assert prepared.objective < 1.05 * long.objective


@pytest.mark.parametrize("power", [0, 1, 8])
def test_its_products_with_the_matrix_are_those_of_the_range_alone(power):
    a, products = noisy()[0], []

    def sweep(step, rows, shared, **options):
        products.append(step)
        return None, step(Dense(a), {}, shared)[1]

    probe = survey(sweep, Chunked(a, [(0, len(a))]))
    products.clear()
    LAI(power=power).prepared(beginning(a, 6), sweep, probe, 0)
    assert min(2, power + 2) <= len(products) <= power + 2


def test_the_sweeps_that_count_never_rise():
    history = [record.objective for record in fitted(noisy()[0], rule="lai", max_sweeps=30).history]
    assert all(b <= a * (1 + 1e-12) for a, b in pairwise(history))


def test_an_ignored_diagonal_is_fitted_on_as_well():
    a = noisy()[0]
    one, other = (
        fitted(b, rule="lai", max_sweeps=200, model_options={"diagonal": "ignore"}) for b in (a, a + 3 * np.eye(len(a)))
    )
    assert one.objective == pytest.approx(other.objective, rel=1e-2)


# --- when it does not pay -----------------------------------------------------------------------------------


def ring(n):
    """A graph with a few entries in each row, of SMALL entries or more."""
    a = np.zeros((n, n))
    for k in range(1, 7):
        a[np.arange(n), (np.arange(n) + k) % n] = a[(np.arange(n) + k) % n, np.arange(n)] = 1 / k
    return a


def test_a_sparse_graph_is_left_to_symhals_with_a_word():
    a = ring(900)
    with pytest.warns(Caution, match=r"rule lai is left at plain symhals: rows hold 12 entries .* 72 on"):
        left = fitted(a, rule="lai")
    np.testing.assert_array_equal(left.w, fitted(a, rule="symhals").w)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fitted(a, rule="lai:always=yes").objective != left.objective


def test_small_matrices_are_not_worth_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert worth_it("lai", SMALL - 1, 10**6, 1e9)
        assert worth_it("lai", 10**6, 1000, 999)
    with pytest.warns(Caution):
        assert not worth_it("lai", 10**6, 1000, 1000)


@pytest.mark.parametrize("options", [{"width": -1}, {"power": -1}, {"warm": 0}, {"inner": 0}, {"lam": "-1"}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        LAI(**options)


def test_other_models_do_not_take_it():
    with pytest.raises(UsageError, match="lai"):
        nmfkit.fit(np.ones((5, 5)), rank=2, rule="lai")
