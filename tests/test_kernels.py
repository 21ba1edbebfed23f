"""Every fast kernel means the same as its reference, and the reference the same as plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmfkit import kernels
from nmfkit.kernels import cpu, reference
from nmfkit.testing import strategies as some
from nmfkit.testing import to_device, to_host

SHAPES = [(1, 1, 1), (5, 3, 1), (3, 7, 2), (17, 13, 5), (64, 31, 8), (4, 9, 33)]
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}


def problem(rows, n, k, dtype, density=0.4):
    rng = np.random.default_rng(rows * 1000 + n)
    x = (rng.random((rows, n)) * (rng.random((rows, n)) < density)).astype(dtype)
    x[rows // 2] = 0  # a row that stores nothing
    return some.sparse(x), x, rng.random((rows, k)).astype(dtype), rng.random((k, n)).astype(dtype)


def same(found, expected, dtype):
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


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
@pytest.mark.parametrize(("rows", "n", "k"), SHAPES)
def test_sampled_product_agrees(rows, n, k, dtype, monkeypatch):
    csr, x, u, v = problem(rows, n, k, dtype)
    expected = (u @ v)[np.nonzero(x)]
    same(reference.sampled_product(u, v, csr.indices, csr.indptr), expected, dtype)
    monkeypatch.setattr(kernels, "JIT_WORK", 0)
    compiled = []
    monkeypatch.setattr(cpu, "sampled_product", lambda *a, f=cpu.sampled_product: compiled.append(1) or f(*a))
    same(kernels.sampled_product(u, v, csr.indices, csr.indptr), expected, dtype)
    assert compiled, "the compiled kernel was not used"


def test_small_work_is_not_compiled(monkeypatch):
    csr, _, u, v = problem(5, 3, 2, np.float64)
    monkeypatch.setattr(cpu, "sampled_product", None)
    kernels.sampled_product(u, v, csr.indices, csr.indptr)


def test_sampled_product_takes_turned_and_mixed_arrays(monkeypatch):
    monkeypatch.setattr(kernels, "JIT_WORK", 0)
    csr, x, u, v = problem(9, 6, 3, np.float64)
    expected = (u @ v)[np.nonzero(x)]
    same(
        kernels.sampled_product(np.asfortranarray(u), np.asfortranarray(v), csr.indices, csr.indptr),
        expected,
        np.float64,
    )
    wide = csr.indices.astype(np.int64), csr.indptr.astype(np.int64)
    same(kernels.sampled_product(u, v, *wide), expected, np.float64)
    narrow = kernels.sampled_product(u.astype(np.float32), v, csr.indices, csr.indptr)
    assert narrow.dtype == np.float64


def test_reference_gathers_in_pieces(monkeypatch):
    monkeypatch.setattr(reference, "GATHER", 8)
    csr, x, u, v = problem(17, 13, 5, np.float64)
    same(reference.sampled_product(u, v, csr.indices, csr.indptr), (u @ v)[np.nonzero(x)], np.float64)


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
