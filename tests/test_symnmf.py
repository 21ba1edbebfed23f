"""The symmetric model: what its factors are, on whichever matrix and by whichever rule."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import nmfkit
from nmfkit.errors import DataError, Incompatible, UsageError
from nmfkit.problem import Problem
from nmfkit.testing import Chunked

ONE = ("fixedpoint", "symmu:0.25", "symmu:damping=0.5", "mu")
PAIRS = ("symhals", "symanls", "hals", "anls")


def planted(n=60, r=4, seed=0, kept=0.4):
    rng = np.random.default_rng(seed)
    h = rng.random((n, r)) * (rng.random((n, r)) < kept)
    h[np.arange(n), np.arange(n) % r] += 0.5
    return h @ h.T


def communities(sizes, inside, outside, seed=0):
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(len(sizes)), sizes)
    chance = np.where(label[:, None] == label, inside, outside)
    upper = np.triu(rng.random(chance.shape) < chance, 1)
    return (upper | upper.T).astype(float), label


def fitted(a, rank, rule="symhals", **options):
    options = {"init": "random", "tol": 0, "max_sweeps": 60, "threads": 1, **options}
    return nmfkit.fit(a, model="symnmf", rank=rank, rule=rule, **options)


def residual(a, w):
    return np.linalg.norm(a - w @ w.T) / np.linalg.norm(a)


@pytest.mark.parametrize("rule", [*PAIRS, "fixedpoint"])
def test_a_product_with_itself_is_found_again(rule):
    a = planted()
    result = fitted(a, 4, rule, max_sweeps=400)
    assert residual(a, result.w) < 1e-3


@pytest.mark.parametrize("rule", PAIRS)
def test_the_two_factors_of_a_pair_become_one(rule):
    result = fitted(planted(), 4, rule, max_sweeps=200)
    assert np.linalg.norm(result.w - result.h.T) < 1e-3 * np.linalg.norm(result.w)


@pytest.mark.parametrize("rule", ONE)
def test_one_factor_is_its_own_transpose_and_has_the_recorded_objective(rule):
    a = planted()
    result = fitted(a, 4, rule, max_sweeps=7)
    assert np.array_equal(result.w, result.h.T)
    assert result.objective == pytest.approx(0.5 * np.sum((a - result.w @ result.h) ** 2), rel=1e-9)


@pytest.mark.parametrize("rule", ["symhals:0.3", "symanls:0.3"])
def test_a_pair_has_its_penalised_objective(rule):
    a = planted(seed=3)
    result = fitted(a, 4, rule, max_sweeps=7)
    u, v = result.w, result.h.T
    expected = 0.5 * np.sum((a - u @ v.T) ** 2) + 0.15 * np.sum((u - v) ** 2)
    assert result.objective == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rule", [*ONE, *PAIRS])
@given(seed=st.integers(0, 10**6), diagonal=st.sampled_from(["keep", "ignore"]), signed=st.booleans())
def test_the_objective_never_rises(rule, seed, diagonal, signed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 12))
    a = rng.normal(size=(n, n)) if signed else rng.random((n, n)) * (rng.random((n, n)) < 0.6)
    a = a + a.T + np.eye(n)
    result = fitted(a, 2, rule, max_sweeps=12, seed=seed, model_options={"diagonal": diagonal})
    assert np.diff(result.history.objective).max() <= 1e-12 * np.sum(a**2)


@pytest.mark.parametrize("rule", ["symhals:0.5", "fixedpoint"])
def test_an_ignored_diagonal_is_of_no_account(rule):
    a = planted(seed=1)
    other = a + np.diag(np.random.default_rng(0).random(len(a)) * 50)
    w = np.random.default_rng(2).random((60, 4))
    options = {"model_options": {"diagonal": "ignore"}, "w": w}
    one, two = (fitted(x, 4, rule, max_sweeps=5, **options) for x in (a, other))
    if rule != "fixedpoint":  # its λ is a part of the norm
        np.testing.assert_allclose(two.w, one.w, rtol=1e-9)
    end = fitted(other, 4, rule, max_sweeps=300, model_options={"diagonal": "ignore"})
    off = ~np.eye(len(a), dtype=bool)
    assert np.linalg.norm((a - end.w @ end.h)[off]) < 1e-6 * np.linalg.norm(a)


@pytest.mark.parametrize("rule", ["fixedpoint", "symmu"])
def test_the_objective_without_a_diagonal_is_that_of_the_other_entries(rule):
    a = planted(seed=2)
    result = fitted(a, 4, rule, max_sweeps=4, model_options={"diagonal": "ignore"})
    gap = (a - result.w @ result.h)[~np.eye(len(a), dtype=bool)]
    assert result.objective == pytest.approx(0.5 * np.sum(gap**2), rel=1e-9)


@pytest.mark.parametrize("rule", ["symhals", "symmu", "fixedpoint"])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_a_node_without_a_neighbour_has_an_empty_row(rule, is_sparse):
    a = planted()
    a[[3, 40]] = 0
    a[:, [3, 40]] = 0
    result = fitted(Chunked(a, [(0, 10), (10, 35), (35, 60)], is_sparse=is_sparse), 4, rule)
    assert (np.flatnonzero(~result.w.any(axis=1)) == [3, 40]).all()


def test_negative_entries_pull_apart():
    label = np.repeat([0, 1, 2], 20)
    a = np.where(label[:, None] == label, 1.0, -0.5)
    for rule in ("symhals", "symmu", "fixedpoint", "symanls"):
        result = fitted(a, 3, rule, max_sweeps=200, seed=1)
        found = result.w.argmax(axis=1)
        assert len({(i, j) for i, j in zip(label, found, strict=True)}) == 3, rule


@pytest.mark.parametrize("rule", ["symhals", "fixedpoint", "symmu"])
def test_single_precision_does_nearly_as_well(rule):
    a, _ = communities([30, 30, 30], 0.5, 0.05)
    wide, narrow = (fitted(a, 3, rule, dtype=dtype, max_sweeps=100) for dtype in ("float64", "float32"))
    assert narrow.w.dtype == np.float32
    assert residual(a, narrow.w.astype(float)) < residual(a, wide.w) + 1e-4


@pytest.mark.parametrize("rule", ["symhals", "fixedpoint", "symmu"])
def test_scale_changes_nothing_but_the_scale(rule):
    a = planted()
    one = fitted(a, 4, rule, w=planted()[:, :4])
    thousand = fitted(1e6 * a, 4, rule, w=1e3 * planted()[:, :4])
    if rule != "symhals":  # its λ is the square of an entry, or a part of the norm
        np.testing.assert_allclose(thousand.w, 1e3 * one.w, rtol=1e-6, atol=1e-6)
    assert residual(1e6 * a, thousand.w) < 0.05


def test_clear_communities_are_found():
    a, label = communities([100] * 5, 0.3, 0.02)
    result = fitted(sp.csr_array(a), 5, max_sweeps=100, init="auto")
    found = result.w.argmax(axis=1)
    pairs = np.zeros((5, 5))
    np.add.at(pairs, (label, found), 1)
    assert pairs.max(axis=1).sum() > 0.97 * len(label)


def test_rows_of_new_nodes_are_nonnegative_least_squares():
    a = planted()
    result = fitted(a, 4, max_sweeps=100)
    w = result.transform(a[:5])
    expected = result.h
    for row, found in zip(a[:5], w, strict=True):
        gradient = expected @ (expected.T @ found - row)
        assert (gradient[found > 0] < 1e-8).all()
        assert (gradient > -1e-8).all()


def test_given_factors_begin_the_fit():
    a = planted()
    w = np.random.default_rng(5).random((60, 4))
    start = fitted(a, 4, "fixedpoint", w=w, max_sweeps=0)
    assert np.array_equal(start.w, w)
    assert np.array_equal(fitted(a, 4, "fixedpoint", h=w.T, max_sweeps=0).w, w)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.ones((3, 4)), "is 3 × 4"),
        (np.triu(np.ones((4, 4))), "not symmetric: row 0 and column 0 differ"),
        (np.where(np.eye(4) > 0, np.nan, 1.0), "NaN at row 0"),
        (np.where(np.eye(4) > 0, np.inf, 1.0), "infinite value at row 0"),
        (np.zeros((4, 4)), "all zero"),
    ],
)
def test_what_is_no_matrix_of_similarities_is_refused(x, said):
    for form in (x, sp.csr_array(x)):
        with pytest.raises(DataError, match=said):
            fitted(form, 2)


def test_an_asymmetric_entry_is_noticed_wherever_it_is():
    a = planted()
    for at in [(0, 59), (31, 30), (59, 0)]:
        spoilt = a.copy()
        spoilt[at] += 0.01
        with pytest.raises(DataError, match="not symmetric"):
            fitted(Chunked(spoilt, [(0, 13), (13, 43), (43, 60)]), 3)


def test_rounding_is_no_asymmetry():
    fitted(planted().astype(np.float32) * np.float32(1 + 1e-7), 3, max_sweeps=2)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "nmf", "rule": "symhals"}, "not a UpdateRule.*model 'nmf' takes"),
        ({"model": "symnmf", "rule": "online"}, "not one that model 'symnmf' can use; it takes .*symhals"),
        ({"model": "symnmf", "rule": "compressed"}, "not one that model 'symnmf' can use"),
        ({"model": "symnmf", "loss": "kl"}, "uses no loss"),
        ({"model": "symnmf", "reg_h": ("l1:1",)}, "uses no reg-h"),
        ({"model": "symnmf", "ranks": (3, 2)}, "takes one rank"),
    ],
)
def test_parts_of_another_kind_are_refused(fields, said):
    from nmfkit.check import resolve

    with pytest.raises(Incompatible, match=said):
        resolve(Problem(**{"ranks": (2,), **fields}, named=frozenset(fields)))


@pytest.mark.parametrize(
    "text", ["symhals:0", "symhals:lots", "symhals:inner=0", "fixedpoint:0", "fixedpoint:0.5,first=0.1", "symmu:2"]
)
def test_options_out_of_range_are_refused(text):
    with pytest.raises(UsageError):
        fitted(planted(), 2, text)


def test_the_rule_that_auto_stands_for_is_recorded():
    result = nmfkit.fit(planted(), model="symnmf", rank=2, max_sweeps=1)
    assert (result.problem.rule, result.problem.init) == ("symhals", "eigen")


@pytest.mark.parametrize("is_sparse", [False, True])
def test_a_faint_neighbour_beside_a_large_diagonal_is_one(is_sparse):
    a = np.diag([1e12, 1e12, 1e12, 0.0, 5.0])
    a[0, 1] = a[1, 0] = 1e-6
    source = Chunked(a, [(0, 2), (2, 5)], is_sparse=is_sparse)
    start = np.ones((5, 1))
    result = fitted(source, 1, "fixedpoint", w=start, max_sweeps=0, model_options={"diagonal": "ignore"})
    assert result.w[:, 0].tolist() == [1, 1, 0, 0, 0]
    assert fitted(source, 1, "fixedpoint", w=start, max_sweeps=0).w[:, 0].tolist() == [1, 1, 1, 0, 1]
