"""Nonnegative least squares of many rows: SciPy's answers, the conditions of a minimum, ties and singular matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from launched import Launched, needs_compiler
from scipy.optimize import nnls as scipy_nnls

from nmfkit import kernels
from nmfkit.kernels import pivoting, reference
from nmfkit.kernels.cpu import pivoting as compiled
from nmfkit.kernels.cuda import solve
from nmfkit.testing import to_device, to_host

VERSIONS = {"numpy": pivoting.pivot, "compiled": compiled.pivot}
ALL = pytest.mark.parametrize(
    "pivot",
    [
        *(pytest.param(pivot, id=name) for name, pivot in VERSIONS.items()),
        pytest.param(Launched(solve).pivot, id="launched", marks=needs_compiler),
    ],
)


def drawn(seed, rank, rows=7, tall=2, scale=1.0):
    rng = np.random.default_rng(seed)
    a = rng.random((tall * rank + 3, rank)) * scale
    return a, rng.standard_normal((rows, len(a)))


def value(q, c, f):
    return 0.5 * np.sum((f @ q) * f, axis=1) - np.sum(f * c, axis=1)


def assert_least(q, c, f, tolerance=1e-11):
    """The conditions of Karush, Kuhn and Tucker, relative to what a slope is the sum of."""
    assert np.all(f >= 0)
    slope, size = f @ q - c, f @ np.abs(q) + np.abs(c) + np.finfo(float).tiny
    assert np.all(slope >= -tolerance * size), np.min(slope / size)
    assert np.all((np.abs(slope) <= tolerance * size) | (f == 0))


@ALL
@given(st.integers(0, 2**32), st.sampled_from([1, 2, 3, 8, 17]), st.sampled_from([1e-8, 1.0, 1e8]))
def test_agrees_with_scipy(pivot, seed, rank, scale):
    a, x = drawn(seed, rank, scale=scale)
    expected = np.array([scipy_nnls(a, row)[0] for row in x])
    found = pivoting.nnls(a.T @ a, x @ a, None, pivot)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * max(1.0, float(np.max(expected * scale))) / scale)
    assert_least(a.T @ a, x @ a, found)


@ALL
@pytest.mark.parametrize("rank", [40, 150])
def test_wide_factors(pivot, rank):
    a, x = drawn(0, rank, rows=3)
    found = pivoting.nnls(a.T @ a, x @ a, None, pivot)
    expected = np.array([scipy_nnls(a, row)[0] for row in x])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * float(np.max(expected)))


@ALL
@given(st.integers(0, 2**32), st.integers(1, 9))
def test_the_start_does_not_matter(pivot, seed, rank):
    a, x = drawn(seed, rank)
    q, c = a.T @ a, x @ a
    start = np.random.default_rng(seed + 1).standard_normal(c.shape).clip(0)
    found = pivoting.nnls(q, c, None, pivot)
    for begin in (start, found, np.ones_like(c)):
        again = pivoting.nnls(q, c, begin, pivot)
        np.testing.assert_allclose(again, found, rtol=0, atol=1e-11 * max(float(np.max(found)), 1e-300))
        np.testing.assert_array_equal(again > 0, found > 0)


@ALL
@given(st.data(), st.integers(1, 5))
def test_ties_and_singular_matrices(pivot, data, rank):
    """Whole numbers: dependent and equal columns, slopes that are 0 beside entries that are 0."""
    entries = st.integers(-2, 3)
    a = np.array(data.draw(st.lists(st.lists(entries, min_size=rank, max_size=rank), min_size=1, max_size=4)), float)
    f = np.array(data.draw(st.lists(st.lists(st.integers(0, 2), min_size=rank, max_size=rank), max_size=4)), float)
    f = f.reshape(-1, rank)
    extra = np.array(data.draw(st.lists(entries, min_size=len(a), max_size=len(a))), float)
    for x in (f @ a.T, f @ a.T + extra):
        q, c = a.T @ a, x @ a
        for start in (None, f, f[:, ::-1]):
            found = pivoting.nnls(q, c, start, pivot)
            assert_least(q, c, found, tolerance=1e-7)
            best = np.array([0.5 * (scipy_nnls(a, row)[1] ** 2 - row @ row) for row in x])
            np.testing.assert_allclose(value(q, c, found), best, rtol=0, atol=1e-10 * (1 + np.max(x**2, initial=0)))
    np.testing.assert_allclose(pivoting.nnls(a.T @ a, f @ a.T @ a, f, pivot), f, rtol=0, atol=1e-6)


@ALL
def test_of_many_minimisers_one_near_the_start(pivot):
    q, c = np.ones((2, 2)), np.full((3, 2), 4.0)
    start = np.array([[0.0, 0.0], [3.0, 1.0], [1.0, 7.0]])
    found = pivoting.nnls(q, c, start, pivot)
    np.testing.assert_allclose(found, [[2, 2], [3, 1], [0, 4]], atol=1e-6)


@ALL
def test_a_column_without_curvature(pivot):
    a, x = drawn(1, 3, rows=4)
    a[:, 1] = 0
    q, c = a.T @ a, x @ a
    c[:, 1] = [-1, 0, 1, 0]
    start = np.array([[5.0, 6, 7]] * 4)
    assert pivoting.nnls(q, c, None, pivot)[:, 1].tolist() == [0, 0, 0, 0]
    found = pivoting.nnls(q, c, start, pivot)
    assert found[:, 1].tolist() == [0, 6, 6, 6]
    kept = [0, 2]
    alone = pivoting.nnls(q[np.ix_(kept, kept)], c[:, kept], start[:, kept], pivot)
    np.testing.assert_allclose(found[:, kept], alone, atol=1e-14)


@ALL
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_takes_any_layout_and_no_rows(pivot, dtype):
    a, x = drawn(2, 5)
    q, c = (a.T @ a), (x @ a).astype(dtype)
    start = np.ones_like(c)
    before = q.copy(), c.copy(), start.copy()
    expected = pivoting.nnls(q, c, start, pivot)
    assert expected.dtype == dtype
    for now, then in zip((q, c, start), before, strict=True):
        np.testing.assert_array_equal(now, then)
    frozen = [np.asfortranarray(v) for v in (q, c, start)]
    for v in frozen:
        v.flags.writeable = False
    np.testing.assert_array_equal(pivoting.nnls(*frozen, pivot), expected)
    np.testing.assert_array_equal(pivoting.nnls(q, np.repeat(c, 2, axis=0)[::2], None, pivot) > 0, expected > 0)
    assert pivoting.nnls(q, c[:0], None, pivot).shape == (0, 5)
    assert pivoting.nnls(q[:0, :0], c[:, :0], None, pivot).shape == (7, 0)


@ALL
def test_keeps_what_is_no_number(pivot):
    a, x = drawn(3, 4)
    q, c = a.T @ a, x @ a
    expected = pivoting.nnls(q, c, None, pivot)
    c[2, 1] = np.nan
    found = pivoting.nnls(q, c, None, pivot)
    assert np.isnan(found[2]).any()
    np.testing.assert_array_equal(np.delete(found, 2, axis=0), np.delete(expected, 2, axis=0))
    q[0, 0] = np.inf
    assert np.isnan(pivoting.nnls(q, c, None, pivot)).all()


@ALL
def test_rows_are_the_same_alone_and_in_tiles(pivot, monkeypatch):
    a, x = drawn(4, 6, rows=11)
    q, c = a.T @ a, x @ a
    expected = pivoting.nnls(q, c, None, pivot)
    monkeypatch.setattr(reference, "GATHER", 3 * 36)
    for found in (pivoting.nnls(q, c, None, pivot), [pivoting.nnls(q, c[[i]], None, pivot)[0] for i in range(11)]):
        np.testing.assert_array_equal(found, expected)


@ALL
def test_rows_that_do_not_end_are_swept(pivot, monkeypatch):
    a, x = drawn(5, 6, rows=20)
    q, c = a.T @ a, x @ a
    start = np.ones_like(c)
    expected = pivoting.nnls(q, c, start, pivot)
    cut = start.copy()
    ended = pivot(q / np.outer(*[np.sqrt(np.diag(q))] * 2), c / np.sqrt(np.diag(q)), cut, 2)
    assert ended.any()
    assert not ended.all()
    np.testing.assert_array_equal(cut[~ended], start[~ended])
    monkeypatch.setattr(pivoting, "SWEEPS", 3000)
    swept = pivoting.nnls(q, c, start, lambda q, c, x, most: pivot(q, c, x, 2))
    np.testing.assert_allclose(swept, expected, atol=1e-9)


def test_single_exchanges_end_too(monkeypatch):
    """Of nearly equal columns, where full exchanges go astray."""
    q, c = 0.999 + 0.001 * np.eye(12), np.random.default_rng(0).random((300, 12))
    for patience in (0, 3):
        monkeypatch.setattr(pivoting, "PATIENCE", patience)
        x = np.zeros_like(c)
        assert pivoting.pivot(q, c, x, 500).all()
        assert_least(q, c, x)
    x = np.zeros_like(c)
    assert compiled.pivot(q, c, x, 500).all()
    assert_least(q, c, x)


@needs_compiler
def test_single_exchanges_on_a_device_are_those_of_the_host(monkeypatch):
    q, c = 0.999 + 0.001 * np.eye(12), np.random.default_rng(0).random((20, 12))
    for patience in (0, 3):
        monkeypatch.setattr(pivoting, "PATIENCE", patience)
        monkeypatch.setattr(solve, "PATIENCE", patience)
        for most in (1, 3, 5, 8, 12, 500):
            here, there = np.zeros_like(c), np.zeros_like(c)
            ended = pivoting.pivot(q, c, here, most)
            np.testing.assert_array_equal(Launched(solve).pivot(q, c, there, most), ended)
            np.testing.assert_allclose(there, here, atol=1e-9)
    assert_least(q, c, there)


@given(st.integers(0, 2**32), st.sampled_from([np.float32, np.float64]), st.booleans())
def test_runs_on_a_device(seed, dtype, singular):
    a, x = drawn(seed, 4)
    if singular:
        a[:, 2] = a[:, 0]
    q, c = a.T @ a, (x @ a).astype(dtype)
    for start in (None, np.ones_like(c)):
        there = to_host(kernels.nnls(*to_device((q, c, start))))
        np.testing.assert_allclose(there, kernels.nnls(q, c, start), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(there, pivoting.nnls(q, c, start, compiled.pivot), rtol=1e-5, atol=1e-6)


def test_the_table_calls_the_compiled_one(monkeypatch):
    used = []
    monkeypatch.setattr(compiled, "pivot", lambda *given, f=compiled.pivot: used.append(1) or f(*given))
    a, x = drawn(6, 5)
    few = kernels.nnls(a.T @ a, x @ a)
    assert not used
    np.testing.assert_allclose(kernels.nnls(a.T @ a, x @ a, whole=10**7), few, rtol=1e-12)
    assert used
