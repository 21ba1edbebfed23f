"""Columns standardized and folded: dense and sparse views that agree, the way back, refusals."""

from __future__ import annotations

import doctest
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardized import COUNTS, FOLDED, KINDS, RNG, found, learnt, over, scores, signed

from nmfkit import kernels
from nmfkit.blocks import Dense, joined
from nmfkit.errors import Incompatible
from nmfkit.preprocessing import Preprocessing, Shifted, fold, unfold
from nmfkit.sources import open_source
from nmfkit.testing import StrictArray, to_device, to_host
from nmfkit.testing import strategies as some
from nmfkit.weighed import Weighed

# --- views --------------------------------------------------------------------------------------------------


@given(signed())
def test_folding_and_back(z):
    y = fold(z)
    assert y.shape == (len(z), 2 * z.shape[1])
    assert (y >= 0).all()
    assert not (y[:, : z.shape[1]] * y[:, z.shape[1] :]).any()
    np.testing.assert_array_equal(unfold(y), z)
    np.testing.assert_array_equal(unfold(y + 1), (y + 1)[:, : z.shape[1]] - (y + 1)[:, z.shape[1] :])


@pytest.mark.parametrize("steps", KINDS, ids=str)
@given(signed(), st.sampled_from([np.float32, np.float64]))
def test_views_are_what_they_are_defined_as(steps, x, dtype):
    known = learnt(x.astype(dtype), dtype)
    block = Dense(x.astype(dtype), 3, 50)
    y, z = steps.view(block, known), scores(x.astype(dtype), known, steps.clip)
    assert (y.dtype, y.first, y.whole, y.shape) == (dtype, 3, 50, (len(x), steps.width(x.shape[1])))
    expected = fold(z) if steps.folds else z
    np.testing.assert_allclose(y.values, expected, rtol=1e2 * np.finfo(dtype).eps)


def test_a_folded_table_has_mean_square_one_half():
    x = RNG.standard_normal((500, 7)) * [1, 2, 3, 4, 5, 6, 0] + 4
    y = FOLDED.view(Dense(x), FOLDED.learn(over(Dense(x)), x.dtype)).values
    assert np.mean(y**2) == pytest.approx(0.5 * 6 / 7, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("clip", [np.inf, 0.5])
@pytest.mark.parametrize(("rows", "n"), [(1, 1), (5, 3), (3, 16), (9, 67)])
def test_the_compiled_view_is_its_reference_to_the_bit(monkeypatch, rows, n, clip, dtype):
    x, mean = RNG.standard_normal((2, rows, n)).astype(dtype)
    inverse = RNG.random(n).astype(dtype)
    inverse[0] = 0
    results = []
    for work in (np.inf, 0):
        monkeypatch.setattr(kernels, "JIT_WORK", work)
        for turned in (x, np.asfortranarray(x)):
            y = np.full((rows, 2 * n), np.nan, dtype)
            kernels.folded_scores(turned, mean[0], inverse, clip, y)
            results.append(y)
    for y in results:
        np.testing.assert_array_equal(y, results[0])
    np.testing.assert_array_equal(results[0], np.minimum(fold((x - mean[0]) * inverse), dtype(clip)))


@pytest.mark.parametrize("work", [0, np.inf])
def test_views_have_the_precision_and_the_order_of_what_is_learnt(monkeypatch, work):
    monkeypatch.setattr(kernels, "JIT_WORK", work)
    x = 10**6 + RNG.integers(0, 9, (50, 3))
    for dtype in (np.float32, np.float64):
        known = {name: a.astype(dtype) for name, a in learnt(x).items()}
        for values in (x, x.astype(np.float64), np.asfortranarray(x)):
            y = FOLDED.view(Dense(values), known).values
            assert y.dtype == dtype
            assert y.flags.c_contiguous
            np.testing.assert_allclose(y, fold((x - known["mean"]) / known["scale"]), rtol=1e-5)


@pytest.mark.parametrize("steps", KINDS, ids=str)
@given(signed(), st.sampled_from([np.float32, np.float64]), st.data())
def test_sparse_views_are_the_dense_ones(steps, x, dtype, data):
    x = x.astype(dtype)
    stored = (x != 0) | (data.draw(some.masks(x.shape)) > 0)  # some zeros may be stored, too
    known = learnt(x, dtype)
    dense = steps.view(Dense(x, 3), known)
    y = steps.view(some.patterned(x, stored), known)
    rng = np.random.default_rng(0)
    b, d = rng.standard_normal((dense.shape[1], 3)).astype(dtype), rng.standard_normal((len(x), 2)).astype(dtype)
    some_rows = np.flatnonzero(data.draw(some.masks((len(x),))))
    # What rounding the entries of x to their last place does to their scores.
    near = 8 * float(np.finfo(dtype).eps) * max(1.0, float(np.max(np.abs(scores(0 * x[:1], known)))))
    sum_over = near * 4 * max(dense.shape)
    full = dense.values.astype(np.float64)
    assert type(y) is Shifted
    assert (y.shape, y.dtype) == (dense.shape, dense.dtype)
    for exactly, close, within in (
        (y.dense(), full, near),
        (y.values, full, near),
        (y.T.T.dense(), full, near),
        (y.rows(1, len(x)).dense(), full[1:], near),
        (y.take(some_rows).dense(), full[some_rows], near),
        (y.like(2 * y.values).values, 2 * full, 2 * near),
        (joined([y.rows(0, 1), y.rows(1, len(x))]).values, full, near),
        (y.dot(b), full @ b, sum_over),
        (y.tdot(d), full.T @ d, sum_over),
        (y.T.dot(d), full.T @ d, sum_over),
        (y.rows(0, 1).dot(b), full[:1] @ b, sum_over),
    ):
        assert exactly.dtype == dtype
        np.testing.assert_allclose(exactly, close, rtol=0, atol=within)
    assert y.squares() == pytest.approx(np.sum(full**2), rel=1e-6 if dtype == np.float32 else 1e-12, abs=sum_over)
    if steps.folds:
        assert (y.dense() >= 0).all()


def test_entries_that_are_not_stored_become_what_zero_becomes_to_the_bit():
    for x in (COUNTS, -COUNTS):
        known = learnt(x)
        for steps in KINDS:
            y, dense = steps.view(some.sparse(x), known).dense(), steps.view(Dense(x), known).values
            absent = np.tile(x == 0, steps.width(9) // 9)
            np.testing.assert_array_equal(y[absent], dense[absent])


def test_sparse_views_know_their_place():
    block = some.sparse(COUNTS, first=7).within(900)
    y = FOLDED.view(block, learnt(COUNTS))
    assert (y.first, y.whole, y.rows(2, 5).first, y.take(np.array([1, 4])).whole) == (7, 900, 9, 900)
    assert y.within(5).whole == 900
    assert FOLDED.view(some.sparse(COUNTS), learnt(COUNTS)).within(5).whole == 5
    assert y.place(18 * 3 + 4) == (10, 4)
    assert y.nbytes == y.sparse.nbytes + y.row.nbytes
    assert len(y.sparse.values) == 2 * len(block.values)
    whole = y.dense()
    at = y.first_zero()
    assert at == int(np.argmax(whole.ravel() == 0))
    assert Shifted(y.sparse, y.row + 50).first_zero() is None


def test_products_of_sparse_views_make_nothing_dense(monkeypatch):
    y = FOLDED.view(some.sparse(COUNTS), learnt(COUNTS))
    monkeypatch.setattr(kernels, "csr_dense", None)
    b = np.ones((18, 2))
    assert y.rows(3, 9).take(np.array([0, 2])).dot(b).shape == (2, 2)
    assert y.tdot(y.dot(b)).shape == (18, 2)
    assert y.squares() > 0
    with pytest.raises(TypeError):
        y.dense()


# --- and back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [steps for steps in KINDS if steps.clip is None], ids=str)
@given(signed(), st.sampled_from([np.float32, np.float64]))
def test_the_way_back(steps, x, dtype):
    x = x.astype(dtype)
    known = learnt(x, dtype)
    for block in (Dense(x), some.sparse(x)):
        back = steps.back(steps.view(block, known).dense(), known)
        assert back.dtype == dtype
        np.testing.assert_allclose(back, x, rtol=0, atol=1e2 * np.finfo(dtype).eps * max(np.abs(x).max(), 1e-300))


def test_the_way_back_of_what_was_clipped_ends_at_the_bounds():
    steps, known = Preprocessing.parse("zscore-fold", 1.5), learnt(COUNTS)
    back = steps.back(steps.view(Dense(COUNTS), known).values, known)
    low, high = (known["mean"] + sign * 1.5 * known["scale"] for sign in (-1, 1))
    assert (high < COUNTS).any()
    np.testing.assert_allclose(back, np.clip(COUNTS, low, high), atol=1e-14)


def test_new_rows_are_seen_as_those_before():
    known, new = learnt(COUNTS), RNG.standard_normal((4, 9)) * 9
    for block in (Dense(new), some.sparse(new)):
        np.testing.assert_allclose(FOLDED.view(block, known).dense(), fold(scores(new, known)), atol=1e-13)


def test_nothing_to_do():
    steps, block = Preprocessing.parse("none"), Dense(COUNTS)
    assert steps == Preprocessing()
    assert steps.learn(None, np.float32) == {}
    assert steps.view(block, {}) is block
    assert steps.back(COUNTS, {}) is COUNTS
    assert (steps.width(9), steps.columns(["a", "b"])) == (9, ["a", "b"])


# --- names, devices, processes ------------------------------------------------------------------------------


def test_names():
    assert FOLDED.columns(["age", "G1"]) == ["age high", "G1 high", "age low", "G1 low"]
    assert Preprocessing.parse("zscore").columns(("age", "G1")) == ["age", "G1"]
    assert [Preprocessing.parse(text).width(5) for text in ("none", "zscore", "zscore-fold")] == [5, 5, 10]


@pytest.mark.parametrize("text", ["zscore-fold", " ZSCORE_fold "])
def test_the_text_says_it_all(text):
    steps = Preprocessing.parse(text, 10)
    assert steps.text == "zscore-fold"
    assert Preprocessing.parse(steps.text, clip=steps.clip) == steps


def test_all_of_it_pickles():
    known = learnt(COUNTS)
    moments = found([Dense(COUNTS)])
    again = pickle.loads(pickle.dumps(moments)) + moments
    np.testing.assert_allclose(again.mean, moments.mean, rtol=1e-15)
    for steps in KINDS:
        assert pickle.loads(pickle.dumps(steps)) == steps
        y = steps.view(some.sparse(COUNTS), known)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(y)).dense(), y.dense())


@pytest.mark.parametrize("block", [Dense(COUNTS), some.sparse(COUNTS)], ids=["dense", "sparse"])
@pytest.mark.parametrize("steps", KINDS, ids=str)
def test_on_a_device(block, steps):
    known, there = learnt(COUNTS), to_device(block)
    far = to_device(known)
    y, expected = steps.view(there, far), steps.view(block, known)
    b, d = RNG.random((y.shape[1], 2)), RNG.random((60, 3))
    for one, other in (
        (y.dense(), expected.dense()),
        (y.dot(to_device(b)), expected.dot(b)),
        (y.tdot(to_device(d)), expected.tdot(d)),
        (y.rows(2, 9).dense(), expected.rows(2, 9).dense()),
        (steps.back(y.dense(), far), steps.back(expected.dense(), known)),
    ):
        assert type(one) is StrictArray
        np.testing.assert_allclose(to_host(one), other, atol=1e-13)
    if isinstance(y, Shifted):
        assert y.squares() == pytest.approx(expected.squares())


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "clip", "said"),
    [
        ("zscore-fodl", None, "preprocess 'zscore-fodl' is unknown; did you mean 'zscore-fold'"),
        ("minmax", None, "unknown; known: none, zscore, zscore-fold"),
        ("", None, "unknown"),
        ("zscore", 0, "clip must be above 0, not 0"),
        ("zscore-fold", -1.0, "clip must be above 0, not -1.0"),
        ("zscore-fold", float("nan"), "clip must be above 0, not nan"),
        ("zscore-fold", float("inf"), "clip must be above 0, not inf"),
        ("none", 3.0, "none makes none"),
    ],
)
def test_refused_options(text, clip, said):
    with pytest.raises(ValueError, match=said):
        Preprocessing.parse(text, clip)


def test_every_fault_is_told():
    with pytest.raises(ValueError, match=r"'standard' is unknown.*clip must be above 0"):
        Preprocessing.parse("standard", -2)


def test_missing_entries_are_refused():
    x = Weighed(Dense(COUNTS), np.ones_like(COUNTS))
    with pytest.raises(Incompatible, match="fit without preprocessing, or fill what is missing"):
        FOLDED.learn(over(x), np.float64)
    with pytest.raises(Incompatible, match="missing or have weights"):
        FOLDED.view(x, learnt(COUNTS))
    assert Preprocessing().view(x, {}) is x


# --- real data ----------------------------------------------------------------------------------------------


def test_students(data_dir):
    source = open_source(data_dir / "tabular" / "student_mat.csv", dtype="float64")
    x = source.read(0, source.shape[0]).dense()[:, :32]
    known = FOLDED.learn(over(Dense(x[:100]), Dense(x[100:])), x.dtype)
    y = FOLDED.view(Dense(x), known).values
    np.testing.assert_allclose(y, fold((x - x.mean(axis=0)) / x.std(axis=0)), atol=1e-12)
    np.testing.assert_allclose(FOLDED.back(y, known), x, atol=1e-12)


def test_ratings_stay_sparse(data_dir):
    source = open_source(data_dir / "ratings" / "movielens_small.npz", dtype="float32")
    x = source.read(0, source.shape[0])
    known = FOLDED.learn(over(x.rows(0, 200), x.rows(200, x.shape[0])), x.dtype)
    y, dense = FOLDED.view(x, known), FOLDED.view(Dense(x.dense()), known)
    assert y.nbytes < 3 * x.nbytes
    np.testing.assert_allclose(y.dense(), dense.values, atol=1e-5)
    assert y.squares() == pytest.approx(float(np.sum(dense.values.astype(float) ** 2)), rel=1e-6)
    b = RNG.random((y.shape[1], 4)).astype(np.float32)
    np.testing.assert_allclose(y.dot(b), dense.dot(b), rtol=1e-4)


def test_the_example_of_the_page():
    page = (Path(__file__).parents[1] / "docs" / "preprocessing.md").read_text("utf-8")
    (example,) = re.findall(r"^```pycon\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    told = doctest.DocTestRunner().run(doctest.DocTestParser().get_doctest(example, {}, "example", None, 0))
    assert (told.failed, told.attempted) == (0, 13)
