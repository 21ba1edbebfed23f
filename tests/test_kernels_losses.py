"""The kernels of losses: values and halves as float64 NumPy gives them, at any scale and at every zero."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from launched import launched
from scipy.special import xlogy

from nmfkit import kernels
from nmfkit.kernels import reference
from nmfkit.kernels.cpu import dense, sparse_kl
from nmfkit.kernels.cuda import dense as cuda_dense
from nmfkit.kernels.floors import floor_for
from nmfkit.testing import strategies as some
from nmfkit.testing import to_device, to_host

FUSED = [dense, launched(cuda_dense)]
ALL = [*FUSED, reference]
DTYPES = [np.float32, np.float64]
BETAS = [0.0, 0.5, 1.5, -1.0, 3.0, 0.7, -0.3, 2.5, 4.0]
RANKS = [1, 15, 16, 17, 50, 64, 65]
HALF = {np.float32: 1e-6, np.float64: 1e-13}
SUM = {np.float32: 1e-6, np.float64: 1e-13}
POWER = {np.float32: 12, np.float64: 90}
"""Powers of ten of the scales that are tried."""


def data(dtype, shape=(23, 47), seed=0, least=0):
    rng = np.random.default_rng(seed)
    return (rng.poisson(2, shape) + least).astype(dtype), (rng.random(shape) + 0.5).astype(dtype)


def wide(*arrays):
    return [a.astype(np.float64) for a in arrays]


def divergence(x, y, beta):
    """Terms of Σ d_β (for β = 1 without Σ ŷ) in float64, and their size before they cancel."""
    x, y = wide(x, y)
    if beta == 1:
        return xlogy(x, x) - xlogy(x, y) - x, np.abs(xlogy(x, x)) + np.abs(xlogy(x, y)) + x
    if beta == 0:
        return x / y - np.log(x / y) - 1, x / y + np.abs(np.log(x / y)) + 1
    parts = x**beta, (beta - 1) * y**beta, -beta * x * y ** (beta - 1)
    size = sum(np.abs(part) for part in parts) / np.abs(beta * (beta - 1))
    return sum(parts) / (beta * (beta - 1)), size


def close(value, terms, size, rtol):
    assert abs(value - float(np.sum(terms))) <= rtol * float(np.sum(size))


def split_kl(module, x, y):
    ratio = y.copy()
    return module.kl_split(x, ratio), ratio


def split_beta(module, x, y, beta):
    pos, neg = np.empty_like(y), np.empty_like(y)
    return module.beta_split(x, y.copy(), beta, pos, neg), pos, neg


@pytest.mark.parametrize("module", ALL)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (0, 5), (1, 511), (3, 513), (23, 47)])
def test_kl_is_its_formula(module, dtype, shape):
    x, y = data(dtype, shape)
    value, ratio = split_kl(module, x, y)
    close(value, *divergence(x, y, 1), SUM[dtype])
    assert ratio.dtype == dtype
    np.testing.assert_allclose(ratio, x.astype(np.float64) / y, rtol=HALF[dtype])


@pytest.mark.parametrize("module", ALL)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("beta", BETAS)
def test_beta_is_its_formula(module, dtype, beta):
    x, y = data(dtype, least=int(beta <= 0))
    value, pos, neg = split_beta(module, x, y, beta)
    close(value, *divergence(x, y, beta), SUM[dtype])
    wide_x, wide_y = wide(x, y)
    np.testing.assert_allclose(pos, wide_y ** (beta - 1), rtol=HALF[dtype])
    np.testing.assert_allclose(neg, wide_x * wide_y ** (beta - 2), rtol=HALF[dtype])


@pytest.mark.parametrize("module", FUSED)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("beta", [1.0, *BETAS])
def test_values_at_any_scale(module, dtype, beta):
    for power in (-POWER[dtype], POWER[dtype]):
        scale = dtype(10.0 ** (power / max(1.0, abs(beta), abs(beta - 2))))
        x, y = data(dtype, least=int(beta <= 0))
        x, y = x * scale, y * scale
        value = split_kl(module, x, y)[0] if beta == 1 else split_beta(module, x, y, beta)[0]
        close(value, *divergence(x, y, beta), SUM[dtype])


@pytest.mark.parametrize("module", FUSED)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_fit_nearly_exact_keeps_its_value(module, dtype):
    rng, gap = np.random.default_rng(0), {np.float32: 1e-3, np.float64: 1e-6}[dtype]
    x = (rng.random((50, 40)) + 0.5).astype(dtype)
    y = (x * (1 + gap * rng.standard_normal(x.shape))).astype(dtype)
    at, gaps = wide(y)[0], np.subtract(*wide(y, x))
    for beta in (0.0, 0.5, 1.5, -1.0, 3.0):
        expected = 0.5 * np.sum(at ** (beta - 2) * gaps**2)
        assert split_beta(module, x, y, beta)[0] == pytest.approx(expected, rel=20 * gap)


def exact(x, y, beta):
    """d_β(x, ŷ) with its zeros (for β = 1 without ŷ), in a range that no power leaves, and what cancels in it."""
    x, y = np.longdouble(x), np.longdouble(y)
    if x == 0 and (y == 0 or beta == 1):
        return 0.0, 0.0
    if (y == 0 and beta <= 1) or (x == 0 and beta <= 0):
        return np.inf, 0.0
    if beta == 1:
        return x * np.log(x / y) - x, x
    if beta == 0:
        return x / y - np.log(x / y) - 1, 1.0
    parts = x**beta, (beta - 1) * y**beta, -beta * x * y ** (beta - 1)
    return sum(parts) / (beta * (beta - 1)), max(np.abs(parts)) / np.abs(beta * (beta - 1))


@pytest.mark.parametrize("module", ALL)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("beta", [1.0, *BETAS])
def test_zeros_and_subnormals(module, dtype, beta):
    tiny, most = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
    least, kinds = floor_for(np.dtype(dtype), max(2 - beta, 1.0)), np.array([0, tiny / 8, tiny, 1e-12, 1, 50], dtype)
    for v, at in itertools.product(kinds, kinds):
        x, y = np.full((1, 3), v), np.full((1, 3), at)
        value, *halves = split_kl(module, x, y) if beta == 1 else split_beta(module, x, y, beta)
        assert not np.any(np.isnan(halves)), (v, at)
        if module is not reference or np.isfinite(value):  # single precision alone may have ∞ − ∞
            expected, size = (3 * float(part) for part in exact(v, at, beta))
            expected = expected if expected < most / 1000 else max(value, most / 1000)
            assert value == pytest.approx(expected, rel=1e-5, abs=1e-6 * size + 100 * tiny), (v, at)
        if v == 0 or v >= 1e-12:  # what began as a subnormal number has lost its digits
            expected = v * np.longdouble(max(at, least)) ** (beta - 2)
            np.testing.assert_allclose(halves[-1].astype(np.longdouble), expected, rtol=1e-5, atol=10 * tiny)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("module", ALL)
def test_missing_fit_is_infinite_and_missing_data_is_not(module, dtype):
    x, y = data(dtype)
    y[3, 4] = 0
    x[3, 4] = 0
    assert np.isfinite(split_kl(module, x, y)[0])
    x[3, 4] = 2
    value, ratio = split_kl(module, x, y)
    assert value == np.inf
    assert np.all(np.isfinite(ratio))
    value, pos, neg = split_beta(module, x + 1, y, 0.0)
    assert value == np.inf
    assert np.all(np.isfinite(pos))
    assert np.all(np.isfinite(neg))
    assert split_beta(module, np.zeros_like(x), y, 0.0)[0] == np.inf


@pytest.mark.parametrize("module", FUSED)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("beta", [1.0, 0.0, 0.7, 3.0])
def test_what_is_no_number_is_not_lost(module, dtype, beta):
    for broken in (0, 1):
        pair = data(dtype, least=1)
        pair[broken][2, 5] = np.nan
        value, *halves = split_kl(module, *pair) if beta == 1 else split_beta(module, *pair, beta)
        assert np.isnan(value)
        assert np.isnan(halves[-1][2, 5])
        assert np.count_nonzero(np.isnan(halves[-1])) == 1


@pytest.mark.parametrize("module", FUSED)
def test_itakura_saito_does_not_overflow_at_a_small_fit(module):
    y = np.full((4, 4), 1e-20, np.float32)
    value, pos, neg = split_beta(module, np.full_like(y, 1e-19), y, 0.0)
    assert value == pytest.approx(16 * (10 - np.log(10) - 1), rel=1e-5)
    assert np.all(np.isfinite(pos))
    assert np.all(np.isfinite(neg))


@pytest.mark.parametrize("module", ALL)
def test_buffers_of_any_layout_and_the_fit_itself(module):
    x, y = data(np.float32)
    value, pos, neg = split_beta(module, x, y, 0.5)
    found, other = np.asfortranarray(y), np.empty((47, 23), np.float32).T
    assert module.beta_split(np.asfortranarray(x), found, 0.5, found, other) == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(found, pos, rtol=1e-6)
    np.testing.assert_allclose(other, neg, rtol=1e-6)
    big = np.repeat(y, 2, axis=1)
    x.flags.writeable = False
    assert module.kl_split(x, big[:, ::2]) == pytest.approx(split_kl(module, x, y)[0])
    np.testing.assert_array_equal(big[:, 1::2], y)


@pytest.mark.parametrize("beta", [1.0, *BETAS])
@given(some.matrices(shape=(4, 5), scales=(1.0,)), some.matrices(shape=(4, 5), scales=(1.0,), positive=True))
def test_halves_agree_on_any_data_and_on_a_device(beta, x, y):
    x = x + (beta <= 0)
    if beta == 1:
        here, there = split_kl(dense, x, y), to_device((x, y))
        results = (reference.kl_split(*there), there[1])
    else:
        here, (v, at, pos, neg) = split_beta(dense, x, y, beta), to_device((x, y, y, y))
        results = (reference.beta_split(v, at, beta, pos, neg), pos, neg)
    for found, expected in zip(here, to_host(results), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12 * max(1.0, float(np.max(x))) ** abs(beta))


def sparse_problem(dtype, rank, shape=(37, 23)):
    rng = np.random.default_rng(rank)
    x = rng.poisson(0.7, shape).astype(dtype)
    x[shape[0] // 2], x[:, 1] = 0, 0
    w, h = rng.random((shape[0], rank)).astype(dtype) + dtype(0.1), rng.random((rank, shape[1])).astype(dtype)
    return some.sparse(x), x, w, h


@pytest.mark.parametrize("module", [sparse_kl, reference])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rank", RANKS)
def test_sparse_kl_is_its_formula(module, dtype, rank):
    csr, x, w, h = sparse_problem(dtype, rank)
    parts, (wide_x, wide_w, wide_h) = (csr.values, csr.indices, csr.indptr), wide(x, w, h)
    y = wide_w @ wide_h
    value, a, g = module.kl_rows(*parts, w, h, True, True)
    close(value, *divergence(x, y, 1), SUM[dtype])
    for found, expected in ((a, wide_x / y @ wide_h.T), (g, (wide_x / y).T @ wide_w)):
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=3 * HALF[dtype])
    left, right = module.kl_rows(*parts, w, h, True, False), module.kl_rows(*parts, w, h, False, True)
    assert left[2] is None
    assert right[1] is None
    np.testing.assert_array_equal(left[1], a)
    np.testing.assert_array_equal(right[2], g)
    assert module.kl_rows(*parts, w, h, False, False) == (value, None, None)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sparse_kl_at_zeros_and_without_rows(dtype):
    csr, _, w, h = sparse_problem(dtype, 3)
    w[0] = 0
    for module in (sparse_kl, reference):
        value, a, g = module.kl_rows(csr.values, csr.indices, csr.indptr, w, h, True, True)
        assert value == np.inf
        assert np.all(np.isfinite(a))
        assert np.all(np.isfinite(g))
    nothing = csr.rows(0, 0)
    value, a, g = sparse_kl.kl_rows(nothing.values, nothing.indices, nothing.indptr, w[:0], h, True, True)
    assert (value, a.shape, g.shape) == (0, (0, 3), (23, 3))
    assert not g.any()


def test_sparse_kl_keeps_its_precision_on_long_rows_and_columns():
    rng, n = np.random.default_rng(0), 2_000_000
    x = rng.random(n, dtype=np.float32) + np.float32(0.1)
    long, short = rng.random((n, 3), dtype=np.float32) + np.float32(0.1), np.full((1, 3), 0.5, np.float32)
    ratio = x / wide(long @ short.T)[0][:, 0]
    expected = ratio @ long.astype(np.float64)
    count = np.arange(n + 1, dtype=np.int32)
    row = sparse_kl.kl_rows(x, count[:-1], count[[0, -1]], short, long.T, True, False)
    column = sparse_kl.kl_rows(x, np.zeros(n, np.int32), count, long, short.T, False, True)
    for value, found in ((row[0], row[1][0]), (column[0], column[2][0])):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        close(value, *divergence(x, x / ratio, 1), 1e-6)


def test_floors_leave_room():
    for dtype in DTYPES:
        for exponent in (1.0, 2.0, 3.5):
            assert np.isfinite(dtype(100) * dtype(floor_for(np.dtype(dtype), exponent)) ** dtype(-exponent))


def test_work_decides_and_tiles_count_as_their_whole(monkeypatch):
    used = []
    monkeypatch.setattr(dense, "kl_split", lambda x, y: used.append(len(x)) or 0.0)
    x, y = data(np.float32)
    kernels.kl_split(x, y.copy())
    assert not used
    kernels.kl_split(x, y.copy(), whole=10**6)
    assert used == [23]
    there = to_device((x, y))
    kernels.kl_split(*there, whole=10**6)
    kernels.kl_split(x.astype(np.float16), y.astype(np.float16), whole=10**6)
    assert used == [23]


@given(st.sampled_from(DTYPES), st.integers(0, 2**32))
def test_logarithm_and_power_are_accurate(dtype, seed):
    rng = np.random.default_rng(seed)
    x = np.exp(rng.uniform(-55, 55, (1, 600))).astype(dtype)
    value, pos, _ = split_beta(dense, x, x[:, ::-1].copy(), 0.7)
    close(value, *divergence(x, x[:, ::-1], 0.7), 1e-13)
    np.testing.assert_allclose(pos, wide(x[:, ::-1])[0] ** (0.7 - 1), rtol={np.float32: 1e-7, np.float64: 1e-15}[dtype])
    one = np.full((1, 1), 1, dtype)
    for v in x[0, :20]:
        expected = float(v) * np.log(float(v)) - float(v)
        found = split_kl(dense, np.full((1, 1), v), one)[0]
        assert found == pytest.approx(expected, rel={np.float32: 5e-7, np.float64: 2e-15}[dtype])
