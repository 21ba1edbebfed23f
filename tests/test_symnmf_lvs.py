"""Rows drawn by leverage, and the rule whose steps are made of them."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmfkit_plugins.symnmf.leverage import draws_in_each, hybrid_sample, leverage_scores
from nmfkit_plugins.symnmf.lvs import LvS, drawn_for, sampled_product
from nmfkit_plugins.symnmf.pair import SymHALS
from nmfkit_plugins.symnmf.two_factors import TwoFactors
from symmetric import beginning, facts_of, planted, similarity

import nmfkit
from nmfkit.blocks import Dense
from nmfkit.errors import Caution, UsageError
from nmfkit.stats import add, widen
from nmfkit.testing import Chunked
from nmfkit.testing.strategies import sparse


def factor(n=80, rank=3, seed=0):
    """Rows of very different lengths, some zero."""
    rng = np.random.default_rng(seed)
    v = rng.random((n, rank)) * rng.exponential(size=(n, 1)) ** 3
    v[rng.random(n) < 0.1] = 0
    return v


def noisy(n=400, rank=6, seed=0):
    e = np.random.default_rng(seed).random((n, n))
    return planted(n, rank, seed)[0] + 0.05 * (e + e.T)


def fitted(a, rule, rank=6, **options):
    options = {"max_sweeps": 10, "tol": 0, "threads": 1, "init": "random", **options}
    return nmfkit.fit(a, model="symnmf", rank=rank, rule=rule, **options)


# --- scores -------------------------------------------------------------------------------------------------


@given(st.integers(3, 40), st.integers(1, 3), st.integers(0, 2**32))
def test_scores_are_the_row_norms_of_an_orthonormal_basis(n, rank, seed):
    v = np.random.default_rng(seed).standard_normal((n, rank))
    q, _ = np.linalg.qr(v)
    scores = leverage_scores(v)
    np.testing.assert_allclose(scores, np.sum(q**2, axis=1) / rank, atol=1e-12)
    np.testing.assert_allclose(leverage_scores(v @ np.triu(np.full((rank, rank), 3.0))), scores, atol=1e-9)


def test_a_column_of_zeros_or_nothing_but_zeros_have_scores():
    v = factor()
    v[:, 1] = 0
    np.testing.assert_allclose(leverage_scores(v), leverage_scores(v[:, [0, 2]]), atol=1e-12)
    np.testing.assert_array_equal(leverage_scores(0 * v), np.full(len(v), 1 / len(v)))


# --- samples ------------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 60), st.floats(0, 1, exclude_max=True), st.integers(0, 2**32))
def test_as_many_are_drawn_as_asked_for(n, draws, start, seed):
    chances = np.random.default_rng(seed).random(n) ** 4
    chances /= chances.sum()
    counts = draws_in_each(chances, draws, start)
    assert counts.sum() == draws
    assert (np.abs(counts - draws * chances) < 1 + 1e-9).all()


@given(st.integers(1, 80), st.floats(0, 1, exclude_max=True), st.integers(0, 2**32))
def test_rows_with_high_scores_are_certain(size, start, seed):
    scores = leverage_scores(factor(seed=seed))
    sample = hybrid_sample(scores, size, start)
    certain = np.flatnonzero(scores > 1 / size)
    assert set(certain) <= set(sample.rows)
    assert len(sample.rows) <= size
    assert (np.diff(sample.rows) > 0).all()
    np.testing.assert_array_equal(sample.weights[np.isin(sample.rows, certain)], 1)
    assert (scores[sample.rows] > 0).all() or size == len(scores)


@pytest.mark.parametrize("size", [80, 200])
def test_a_sample_of_all_rows_is_all_rows(size):
    v = factor()
    sample = hybrid_sample(leverage_scores(v), size, 0.3)
    np.testing.assert_array_equal(sample.rows, np.arange(80))
    np.testing.assert_array_equal(sample.weighted(v), v)
    np.testing.assert_allclose(sample.gram(v), v.T @ v, rtol=1e-12)


def averaged(v, a, size, drawn=hybrid_sample, count=3000):
    """The mean over many samples of the product with A and of the Gram matrix, and the deviation of those means."""
    rng, scores = np.random.default_rng(1), leverage_scores(v)
    samples = [drawn(scores, size, rng.random()) for _ in range(count)]
    found = [np.array([a[:, s.rows] @ s.weighted(v) for s in samples]), np.array([s.gram(v) for s in samples])]
    return [(x.mean(axis=0), x.std(axis=0) / np.sqrt(count)) for x in found]


@pytest.mark.parametrize("size", [8, 20, 40])
def test_the_mean_over_samples_is_the_product_and_the_gram_matrix(size):
    v, a = factor(), similarity(80)
    for (mean, deviation), true in zip(averaged(v, a, size), (a @ v, v.T @ v), strict=True):
        assert (np.abs(mean - true) <= 5 * deviation + 1e-12 * np.abs(true)).all()


def test_dividing_by_all_of_the_sample_would_be_noticed():
    v, a, size = factor(), similarity(80), 20
    certain = np.count_nonzero(leverage_scores(v) > 1 / size)
    assert certain > 0

    def short(scores, size, start):
        found = hybrid_sample(scores, size, start)
        alone = found.weights == 1
        return found._replace(weights=np.where(alone, 1, found.weights * (size - certain) / size))

    for (mean, deviation), true in zip(averaged(v, a, size, short), (a @ v, v.T @ v), strict=True):
        assert (np.abs(mean - true) > 5 * deviation + 1e-12 * np.abs(true)).any()


# --- the product of sampled rows ----------------------------------------------------------------------------


@given(st.sets(st.integers(0, 39), max_size=12), st.sets(st.integers(1, 39), max_size=5), st.booleans())
def test_rows_stand_for_columns_panel_by_panel(rows, cuts, is_sparse):
    a, rows = similarity(signed=True), np.array(sorted(rows), dtype=int)
    weighted = np.random.default_rng(0).random((len(rows), 3))
    total, edges = None, [0, *sorted(cuts), 40]
    for lo, hi in pairwise(edges):
        x = sparse(a[lo:hi], lo) if is_sparse else Dense(a[lo:hi], lo)
        _, stats = sampled_product(x, {}, {"rows": rows, "weighted": weighted})
        total = widen(stats) if total is None else add(total, stats)
    np.testing.assert_allclose(total["product"], a[:, rows] @ weighted, atol=1e-12)


# --- sweeps -------------------------------------------------------------------------------------------------


def begun(sweeps, a, h):
    """The state of a fit and its rows."""
    shared = {"f": h, "gram": h.T @ h, "squares": float(np.sum(a**2)), "diagonal": None, "empty": None, "seed": 0}
    if sweeps.ignored:
        shared["diagonal"] = np.diag(a)[:, None].copy()
        shared["squares"] -= float(np.sum(np.diag(a) ** 2))
    return {**shared, **sweeps.begin(h, facts_of(a), None)}, {"w": h}


def swept(sweeps, a, rows, shared):
    """A sweep of a model, on one block: rows, the state that it is of, and its sums."""
    x = Dense(a)
    while (due := sweeps.phase(shared)) is not None:
        made, stats = due.step(x, rows, due.shared)
        rows, shared = {**rows, **made}, sweeps.after(shared, widen(stats))
    rows, stats = sweeps.local(x, rows, shared)
    return rows, shared, stats


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("pairs", [1, 3])
def test_a_sample_of_all_rows_makes_the_sweeps_of_symhals(pairs, ignored):
    a, h = similarity(), beginning(similarity())
    plain, from_samples = TwoFactors(ignored, SymHALS()), LvS(sample=1.0, pairs=pairs, always=True).sweeps(ignored)
    states = [begun(plain, a, h), begun(from_samples, a, h)]
    for turn in range(3):
        for _ in range(1 if turn == 0 else pairs + 1):
            shared, rows = states[0]
            rows, shared, stats = swept(plain, a, rows, shared)
            states[0] = (plain.apply(shared, stats), rows)
        one = plain.objective(shared, stats)
        shared, rows = states[1]
        rows, shared, stats = swept(from_samples, a, rows, shared)
        states[1] = (from_samples.apply(shared, stats), rows)
        assert from_samples.objective(shared, stats) == pytest.approx(one, rel=1e-10)
        np.testing.assert_allclose(states[1][1]["w"], states[0][1]["w"], atol=1e-9)
        np.testing.assert_allclose(states[1][0]["f"], states[0][0]["f"], atol=1e-9)


@pytest.mark.parametrize("ignored", [False, True])
def test_the_objective_is_that_of_all_rows(ignored):
    a, h = similarity(), beginning(similarity())
    sweeps = LvS(sample=0.3, always=True).sweeps(ignored)
    shared, rows = begun(sweeps, a, h)
    for _ in range(3):
        before = shared
        rows, shared, stats = swept(sweeps, a, rows, shared)
        off = a - rows["w"] @ shared["f"].T
        if ignored:
            np.fill_diagonal(off, 0)
        true = 0.5 * np.sum(off**2) + 0.5 * shared["lam"] * np.sum((rows["w"] - shared["f"]) ** 2)
        assert sweeps.objective(shared, stats) == pytest.approx(true, rel=1e-10)
        assert before["draws"] == shared["draws"]
        shared = sweeps.apply(shared, stats)


def test_a_sweep_that_rises_is_undone_and_the_sample_grows_until_none_is_left():
    a, h = similarity(), beginning(similarity())
    sweeps = LvS(sample=0.2, always=True).sweeps(False)
    shared, _ = begun(sweeps, a, h)
    assert sweeps.refused(shared, 1e9) is None  # nothing to compare the first sweep with
    shared = {**shared, "last": 10.0}
    assert sweeps.refused(shared, 10.0) is None
    sizes = []
    while (back := sweeps.refused(shared, 10.1)) is not None:
        assert back["draws"] == shared["draws"] + 1
        np.testing.assert_array_equal(back["f"], shared["f"])
        shared = back
        sizes.append(back["size"])
    assert sizes == [16, 0]
    assert sweeps.phase(shared).step == sweeps.first_half


def test_steps_and_sweeps_have_samples_of_their_own():
    h = np.random.default_rng(0).random((4000, 3))
    shared = {"f": h, "other": h, "size": 600, "seed": 0, "draws": 0, "taken": 0}
    first = drawn_for(shared)[0]
    assert np.array_equal(first.weights, drawn_for(shared)[0].weights)
    for change in ({"draws": 1}, {"taken": 2}, {"seed": 1}):
        other = drawn_for({**shared, **change})[0]
        assert not (np.array_equal(first.rows, other.rows) and np.array_equal(first.weights, other.weights))


@pytest.mark.parametrize("chunks", [[(0, 400)], [(0, 7), (7, 150), (150, 400)]])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_chunks_and_storage_change_nothing(chunks, is_sparse):
    a = noisy()
    one = fitted(a, "lvs", max_sweeps=4)
    other = fitted(Chunked(a, chunks, is_sparse=is_sparse), "lvs", max_sweeps=4)
    np.testing.assert_allclose(other.w, one.w, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("sample", [0.05, 0.2])
def test_a_dense_matrix_needs_fewer_exact_sweeps(sample):
    a = noisy()
    history = [record.objective for record in fitted(a, f"lvs:sample={sample},pairs=4", max_sweeps=12).history]
    assert all(b <= a * (1 + 1e-12) for a, b in pairwise(history))
    assert history[-1] < 0.8 * fitted(a, "symhals", max_sweeps=12).objective
    assert history[-1] < 1.05 * fitted(a, "symhals", max_sweeps=300).objective


def test_it_ends_where_symhals_ends():
    a = noisy(200, 4)
    ends = [fitted(a, rule, rank=4, max_sweeps=400).objective for rule in ("symhals", "lvs")]
    assert ends[1] == pytest.approx(ends[0], rel=1e-2)


def test_its_reads_are_told():
    rule = LvS(pairs=3)
    assert rule.sweeps(False).reads == 2 + 2 * 3


# --- when it does not pay -----------------------------------------------------------------------------------


def test_a_sparse_graph_is_left_to_symhals_with_a_word():
    a = np.zeros((900, 900))
    for k in range(1, 7):
        i, j = np.arange(900), (np.arange(900) + k) % 900
        a[i, j] = a[j, i] = 1 / k
    with pytest.warns(Caution, match="rule lvs is left at plain symhals: rows hold 12 entries .* from 90 on"):
        left = fitted(a, "lvs")
    np.testing.assert_array_equal(left.w, fitted(a, "symhals").w)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(a, "lvs:always=yes")


@pytest.mark.parametrize("options", [{"sample": 0.0}, {"sample": 1.1}, {"pairs": 0}, {"inner": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        LvS(**options)


def test_other_models_do_not_take_it():
    with pytest.raises(UsageError, match="lvs"):
        nmfkit.fit(np.ones((5, 5)), rank=2, rule="lvs")
