"""The kernels that update a factor: HALS as its plain loop, coordinate steps that never raise the objective."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from launched import launched
from scipy.special import xlogy

from nmfkit import kernels
from nmfkit.kernels import reference
from nmfkit.kernels.cpu import coordinates, sweeps
from nmfkit.kernels.cuda import sweeps as cuda_sweeps
from nmfkit.testing import strategies as some
from nmfkit.testing import to_device, to_host

FUSED = [sweeps, launched(cuda_sweeps)]
DTYPES = [np.float32, np.float64]
RANKS = [1, 2, 15, 16, 17, 50, 65, 200]
TOLERANCE = {np.float32: 2e-4, np.float64: 1e-11}


def plain(f, q, c, inner):
    f, q, c = f.astype(np.float64), q.astype(np.float64), np.broadcast_to(c, f.shape).astype(np.float64)
    for _ in range(inner):
        for k in range(f.shape[1]):
            if q[k, k] > 0:
                f[:, k] = np.maximum(0, f[:, k] + (c[:, k] - f @ q[k]) / q[k, k])
            else:
                f[:, k] = np.where(c[:, k] < 0, 0, f[:, k])
    return f


def quadratic(rows, rank, dtype, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.random((3 * rank + 2, rank))
    f = (rng.random((rows, rank)) * (rng.random((rows, rank)) < 0.8)).astype(dtype)
    return f, a.T @ a, ((rng.random((rows, rank)) * 1.5 - 0.2) @ (a.T @ a)).astype(dtype)


@pytest.mark.parametrize("module", [*FUSED, reference])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rank", RANKS)
def test_hals_is_the_plain_loop(module, dtype, rank):
    for rows in (0, 1, 127, 128, 130):
        f, q, c = quadratic(rows, rank, dtype)
        before = f.copy(), q.copy(), c.copy()
        for inner in (0, 1, 3):
            found = module.hals(f, q, c, inner)
            assert found.dtype == dtype
            assert found is not f
            np.testing.assert_allclose(found, plain(f, q, c, inner), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * 9)
        for now, then in zip((f, q, c), before, strict=True):
            np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("module", FUSED)
@pytest.mark.parametrize("dtype", DTYPES)
def test_hals_takes_any_layout(module, dtype):
    f, q, c = quadratic(131, 7, dtype)
    expected = module.hals(f, q, c, 2)
    f.flags.writeable = c.flags.writeable = False
    turned = np.asfortranarray(f), np.asfortranarray(q), np.asfortranarray(c)
    apart = np.repeat(f, 2, axis=1)[:, ::2], q.astype(np.float32), np.repeat(c, 2, axis=0)[::2]
    np.testing.assert_array_equal(module.hals(*turned, 2), expected)
    np.testing.assert_allclose(module.hals(*apart, 2), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(module.hals(f, q, c[:1], 2), module.hals(f, q, np.repeat(c[:1], len(f), axis=0), 2))
    assert module.hals(f.astype(np.float32), q, c.astype(np.float64), 1).dtype == np.float64


@pytest.mark.parametrize("module", [*FUSED, reference])
def test_hals_without_curvature_follows_the_penalty_alone(module):
    f, q, c = quadratic(5, 3, np.float64)
    q[1], q[:, 1] = 0, 0
    c[:, 1] = [-1, 0, 1, -2, 3]
    found = module.hals(f, q, c, 1)
    np.testing.assert_array_equal(found[:, 1], np.where(c[:, 1] < 0, 0, f[:, 1]))


@given(st.integers(0, 2**32), st.sampled_from(DTYPES), st.sampled_from([1e-12, 1.0, 1e12]))
def test_hals_agrees_at_any_scale_and_on_a_device(seed, dtype, scale):
    f, q, c = quadratic(6, 4, dtype, seed)
    f, c = (f * dtype(scale)), (c * dtype(scale))
    expected = plain(f, q, c, 2)
    for found in (sweeps.hals(f, q, c, 2), to_host(reference.hals(*to_device((f, q, c)), 2))):
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale * 9)


@pytest.mark.parametrize("module", FUSED)
def test_hals_keeps_what_is_no_number(module):
    f, q, c = quadratic(5, 3, np.float32)
    c[2, 1] = np.nan
    assert np.isnan(module.hals(f, q, c, 1)[2, 1])
    assert np.all(np.isfinite(module.hals(f, q, c, 1)[:2]))


def objective(x, w, h, l1=0.0, l2=0.0):
    x, w, h = (a.astype(np.float64) for a in (x, w, h))
    y = w @ h
    with np.errstate(divide="ignore"):
        terms = xlogy(x, x) - xlogy(x, y) - x + y
    return np.sum(terms, axis=1) + l1 * np.sum(w, axis=1) + 0.5 * l2 * np.sum(w * w, axis=1)


def counts(dtype, rank, seed=0, shape=(31, 57)):
    rng = np.random.default_rng(seed)
    x = rng.poisson(rng.gamma(0.3, 3, shape)).astype(dtype)
    x[3] = 0
    w, h = (rng.gamma(0.5, 1, s).astype(dtype) for s in ((shape[0], rank), (rank, shape[1])))
    return x, w, h


@pytest.mark.parametrize("module", [coordinates, reference])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rank", [1, 2, 17, 50])
@pytest.mark.parametrize(("l1", "l2"), [(0, 0), (0.5, 0), (0, 0.7), (0.3, 2)])
def test_coordinate_steps_never_raise_the_objective(module, dtype, rank, l1, l2):
    x, w, h = counts(dtype, rank)
    csr, sums, value = some.sparse(x), h.sum(axis=1, dtype=np.float64), objective(x, w, h, l1, l2)
    slack = {np.float32: 1e-5, np.float64: 1e-12}[dtype]
    for _ in range(8):
        w = module.scd_rows(csr.values, csr.indices, csr.indptr, w, h, sums, 1, l1, l2, 1e-20)
        now = objective(x, w, h, l1, l2)
        assert w.dtype == dtype
        assert np.all(now <= value + slack * (1 + np.abs(value)))
        value = now
    assert np.all(w >= dtype(1e-20))


@given(st.integers(0, 2**32), st.sampled_from([1e-6, 1.0, 1e6]), st.sampled_from([1e-6, 1.0, 1e6]))
def test_coordinate_steps_descend_from_far_away(seed, data, start):
    x, w, h = counts(np.float64, 4, seed, shape=(6, 9))
    x, w = x * data, w * start
    csr, sums, value = some.sparse(x), h.sum(axis=1), objective(x, w, h)
    stepped = coordinates.scd_rows(csr.values, csr.indices, csr.indptr, w, h, sums, 3, 0.0, 0.0, 0.0)
    now = objective(x, stepped, h)
    finite = np.isfinite(value)
    assert np.all(now[finite] <= value[finite] + 1e-11 * (np.abs(value[finite]) + x.sum(axis=1)[finite]))
    there = to_device((csr.values, csr.indices, csr.indptr, w, h, sums))
    again = to_host(reference.scd_rows(*there, 3, 0.0, 0.0, 0.0))
    if start == data == 1:  # from farther away, ŷ loses digits by the way
        np.testing.assert_allclose(again, stepped, rtol=1e-7, atol=1e-9 * float(np.max(stepped)))


def test_coordinate_steps_reach_the_minimum():
    x, w, h = counts(np.float64, 3)
    w, csr = w + 0.1, some.sparse(x)
    sums = h.sum(axis=1)
    found = coordinates.scd_rows(csr.values, csr.indices, csr.indptr, w, h, sums, 300, 0.0, 0.0, 0.0)
    y = found @ h
    slopes = sums - np.where(x > 0, x / np.where(y > 0, y, 1), 0) @ h.T
    assert np.all(slopes > -1e-5 * sums)
    assert np.all(np.minimum(found, np.abs(slopes)) < 1e-4 * (1 + sums))


def test_coordinate_steps_on_a_long_row_and_without_any():
    rng, n = np.random.default_rng(0), 1_000_000
    x = rng.random(n, dtype=np.float32) + np.float32(0.1)
    h, w = rng.random((2, n), dtype=np.float32) + np.float32(0.1), np.ones((1, 2), np.float32)
    parts, sums = (np.arange(n, dtype=np.int32), np.array([0, n])), h.sum(axis=1, dtype=np.float64)
    found = coordinates.scd_rows(x, *parts, w, h, sums, 2, 0.0, 0.0, 0.0)
    wide = [a.astype(np.float64) for a in (x, w, h)]
    expected = coordinates.scd_rows(wide[0], *parts, *wide[1:], sums, 2, 0.0, 0.0, 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    nothing = coordinates.scd_rows(x[:0], parts[0][:0], np.array([0, 0]), w, h, sums, 1, 0.0, 0.0, 1e-9)
    np.testing.assert_allclose(nothing, 1e-9, rtol=1e-6)


def test_the_table_calls_the_compiled_ones(monkeypatch):
    monkeypatch.setattr(kernels, "JIT_WORK", 0)
    x, w, h = counts(np.float32, 3)
    csr, sums = some.sparse(x), h.sum(axis=1)
    parts = csr.values, csr.indices, csr.indptr
    stepped = kernels.scd_rows(*parts, w, h, sums, 1, 0.0, 0.0, 0.0)
    np.testing.assert_array_equal(stepped, coordinates.scd_rows(*parts, w, h, sums, 1, 0.0, 0.0, 0.0))
    value, a, g = kernels.kl_rows(*parts, w + 1, h, True, True)
    reference_value, b, e = reference.kl_rows(*parts, w + 1, h, True, True)
    assert value == pytest.approx(reference_value, rel=1e-5)
    np.testing.assert_allclose(a, b, rtol=1e-5)
    np.testing.assert_allclose(g, e, rtol=1e-5)
    f, q, c = quadratic(9, 3, np.float32)
    np.testing.assert_array_equal(kernels.hals(f, q, c, 2), sweeps.hals(f, q, c, 2))
    pos, neg = np.empty_like(x), np.empty_like(x)
    assert kernels.beta_split(x + 1, x + 2, 0.0, pos, neg) > 0
