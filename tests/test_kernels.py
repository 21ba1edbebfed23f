"""Products of blocks: every fast kernel means the same as its reference, and the reference as plain NumPy."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmfkit import kernels
from nmfkit.kernels import reference
from nmfkit.kernels.cpu import dense, layout, sparse
from nmfkit.kernels.cpu.totals import totals as cpu_totals
from nmfkit.testing import strategies as some
from nmfkit.testing import to_device, to_host

SHAPES = [(1, 1, 1), (5, 3, 1), (3, 7, 2), (17, 13, 5), (64, 31, 8), (4, 9, 33)]
RANKS = [1, 15, 16, 17, 50, 64, 65]
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}


def problem(rows, n, k, dtype, density=0.4):
    rng = np.random.default_rng(rows * 1000 + n)
    x = (rng.random((rows, n)) * (rng.random((rows, n)) < density)).astype(dtype)
    x[rows // 2] = 0  # a row that stores nothing
    return some.sparse(x), x, rng.random((rows, k)).astype(dtype), rng.random((k, n)).astype(dtype)


def same(found, expected, dtype):
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.fixture
def compiled(monkeypatch):
    monkeypatch.setattr(kernels, "JIT_WORK", 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "n", "k"), SHAPES)
def test_products_agree(rows, n, k, dtype):
    csr, x, u, v = problem(rows, n, k, dtype)
    parts = csr.values, csr.indices, csr.indptr, n
    for module in (kernels, reference):
        same(module.csr_dot(*parts, v.T), x @ v.T, dtype)
        same(module.csr_tdot(*parts, u), x.T @ u, dtype)
        same(module.csr_dense(*parts), x, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", RANKS)
def test_compiled_products_agree(k, dtype):
    csr, x, u, v = problem(37, 23, k, dtype)
    parts = csr.values, csr.indices, csr.indptr
    same(sparse.csr_dot(*parts, v.T), x @ v.T, dtype)
    same(sparse.csr_tdot(*parts, 23, u), x.T @ u, dtype)
    same(sparse.sampled_product(u, v, csr.indices, csr.indptr), (u @ v)[np.nonzero(x)], dtype)


def test_compiled_products_take_no_rows_and_no_entries():
    indices, indptr = np.zeros(0, np.int32), np.zeros(1, np.int32)
    values = np.zeros(0, np.float32)
    w, h = np.ones((0, 3), np.float32), np.ones((3, 5), np.float32)
    for module in (sparse, reference):
        assert module.sampled_product(w, h, indices, indptr).shape == (0,)
        assert module.csr_tdot(values, indices, indptr, 5, w).shape == (5, 3)
    assert sparse.csr_dot(values, indices, indptr, h.T).shape == (0, 3)
    assert sparse.csr_dot(values, indices, np.zeros(4, np.int32), h.T).tolist() == [[0] * 3] * 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "n", "k"), SHAPES)
def test_sampled_product_agrees(rows, n, k, dtype, monkeypatch):
    csr, x, u, v = problem(rows, n, k, dtype)
    expected = (u @ v)[np.nonzero(x)]
    same(reference.sampled_product(u, v, csr.indices, csr.indptr), expected, dtype)
    monkeypatch.setattr(kernels, "JIT_WORK", 0)
    used = []
    monkeypatch.setattr(sparse, "sampled_product", lambda *a, f=sparse.sampled_product: used.append(1) or f(*a))
    same(kernels.sampled_product(u, v, csr.indices, csr.indptr), expected, dtype)
    assert used, "the compiled kernel was not used"


def test_small_work_is_not_compiled(monkeypatch):
    csr, _, u, v = problem(5, 3, 2, np.float64)
    monkeypatch.setattr(sparse, "sampled_product", None)
    kernels.sampled_product(u, v, csr.indices, csr.indptr)
    with pytest.raises(TypeError):  # a tile of something large
        kernels.sampled_product(u, v, csr.indices, csr.indptr, whole=10**8)


def test_products_take_turned_and_mixed_arrays(compiled):
    csr, x, u, v = problem(9, 6, 3, np.float64)
    expected = (u @ v)[np.nonzero(x)]
    turned = np.asfortranarray(u), np.asfortranarray(v)
    same(kernels.sampled_product(*turned, csr.indices, csr.indptr), expected, np.float64)
    wide = csr.indices.astype(np.int64), csr.indptr.astype(np.int64)
    same(kernels.sampled_product(u, v, *wide), expected, np.float64)
    same(kernels.csr_dot(csr.values, *wide, 6, v[:, ::1].T), x @ v.T, np.float64)
    same(kernels.csr_tdot(csr.values[::1], *wide, 6, np.asfortranarray(u)), x.T @ u, np.float64)
    narrow = kernels.sampled_product(u.astype(np.float32), v, csr.indices, csr.indptr)
    assert narrow.dtype == np.float64


@pytest.mark.parametrize("k", [1, 17])
def test_long_rows_and_columns_keep_their_precision(k):
    rng = np.random.default_rng(0)
    x = rng.random(2_000_000, dtype=np.float32) + np.float32(0.1)
    b = rng.random((len(x), k), dtype=np.float32)
    expected = x.astype(np.float64) @ b.astype(np.float64)
    ends, count = np.array([0, len(x)], np.int64), np.arange(len(x), dtype=np.int32)
    row = kernels.csr_dot(x, count, ends, len(x), b)
    column = kernels.csr_tdot(x, np.zeros_like(count), np.arange(len(x) + 1), 1, b)
    for found in (row[0], column[0]):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_reference_gathers_in_pieces(monkeypatch):
    monkeypatch.setattr(reference, "GATHER", 8)
    csr, x, u, v = problem(17, 13, 5, np.float64)
    same(reference.sampled_product(u, v, csr.indices, csr.indptr), (u @ v)[np.nonzero(x)], np.float64)


def test_padded_columns_are_kept_only_where_nobody_can_change_them():
    h = np.random.default_rng(0).random((5, 9))
    assert layout.padded(h.T, h.dtype) is not layout.padded(h.T, h.dtype)
    seen = h.view()
    seen.flags.writeable = False  # its owner may still be written to
    assert layout.padded(seen.T, h.dtype) is not layout.padded(seen.T, h.dtype)
    h.flags.writeable = False
    wide = layout.padded(h.T, h.dtype)
    assert wide is layout.padded(h.T, h.dtype)
    assert not wide.flags.writeable
    np.testing.assert_array_equal(wide, np.pad(h.T, ((0, 0), (0, 11))))
    np.testing.assert_array_equal(layout.padded(h[:, 2:].T, h.dtype)[:, :5], h[:, 2:].T)
    assert layout.padded(h.T, np.float32).dtype == np.float32


def test_padded_columns_go_with_what_they_are_of():
    many = []
    for seed in range(3 * layout.KEPT):
        h = np.full((5, 9), float(seed))
        h.flags.writeable = False
        many.append(h)
        assert layout.padded(h.T, h.dtype)[0, 0] == seed
    assert len(layout._kept) <= layout.KEPT
    del h, many
    gc.collect()
    assert not layout._kept


@given(some.cases(smooth=False), st.sampled_from([np.float32, np.float64]))
def test_blocks_agree_with_dense_algebra_here_and_on_a_device(case, dtype):
    case = case.astype(dtype)
    x, rtol = some.sparse(case.x), 1e2 * TOLERANCE[dtype]
    results = {
        "dot": (lambda x, w, h: x.dot(h.T), case.x @ case.h.T),
        "tdot": (lambda x, w, h: x.T.dot(w), case.x.T @ case.w),
        "dense": (lambda x, w, h: x.dense(), case.x),
        "rows": (lambda x, w, h: x.rows(0, 1).dense(), case.x[:1]),
    }
    for what, (compute, expected) in results.items():
        atol = rtol * float(np.max(np.abs(expected), initial=0))
        here = compute(x, case.w, case.h)
        there = to_host(compute(to_device(x), to_device(case.w), to_device(case.h)))
        for found in (here, there):
            assert found.dtype == dtype, what
            np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=what)


def test_minus_zero_is_no_entry():
    x = np.array([[0.0, -0.0, 2.0]], np.float32)
    assert cpu_totals(x)[3] == reference.totals(x)[3] == 1


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e6])
def test_large_counts_take_the_fast_way(scale):
    x = np.full((4, 512), scale, np.float32)
    y = x * np.float32(0.5)
    assert dense.kl_split(x, y.copy()) == pytest.approx(reference.kl_split(x, y.copy()), rel=1e-6)
