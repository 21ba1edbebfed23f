"""The sparse kernels in CUDA C, run on the CPU: they mean what the reference means, to the bit at every run."""

from __future__ import annotations

import math

import numpy as np
import pytest
from csr_problems import TOLERANCE, Problem, problem, same, there
from hypothesis import given, settings
from hypothesis import strategies as st

from nmfkit.kernels import reference
from nmfkit.kernels import symmetric as symmetric_reference
from nmfkit.kernels.cuda import coordinates, pattern, sparse, symmetric
from nmfkit.testing import strategies as some
from nmfkit.testing import to_device, to_host
from nmfkit.testing.cuda_on_cpu import compiler, kernels_on_cpu

pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler")

RANKS = [1, 31, 32, 33, 65, 130]
DTYPES = [np.float32, np.float64]


@pytest.fixture(scope="module")
def launch():
    with kernels_on_cpu() as own:
        yield own


def kl_rows(launch, *given):
    value, left, right = sparse.kl_rows(launch, *given)
    return float(value), left, right


@pytest.fixture(params=[1, 3, 128])
def chunk(request, monkeypatch):
    """Entries of a chunk: few, for rows and columns to lie in many of them."""
    monkeypatch.setattr(pattern, "LEAST", request.param)
    return request.param


def products(launch, p):
    """What every kernel makes of a problem that lies on the device."""
    return (
        sparse.sampled_product(launch, p.w, p.h, *p.pattern),
        sparse.csr_dot(launch, *p.parts, p.h.T),
        sparse.csr_tdot(launch, *p.parts, p.n, p.w),
        sparse.csr_dense(launch, *p.parts, p.n),
    )


def expected_products(p):
    return (
        reference.sampled_product(p.w, p.h, *p.pattern),
        reference.csr_dot(*p.parts, p.n, p.h.T),
        reference.csr_tdot(*p.parts, p.n, p.w),
        reference.csr_dense(*p.parts, p.n),
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("r", RANKS)
def test_products_agree(launch, chunk, r, dtype):
    p = problem(11, 7, r, dtype)
    for found, expected in zip(products(launch, there(p)), expected_products(p), strict=True):
        same(found, expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("r", RANKS)
@pytest.mark.parametrize("sides", [(True, True), (True, False), (False, True), (False, False)])
def test_kl_agrees(launch, chunk, r, dtype, sides):
    p = problem(11, 7, r, dtype, seed=1)
    q = there(p)
    value, *halves = kl_rows(launch, *q.parts, q.w, q.h, *sides)
    expected, *wanted = reference.kl_rows(*p.parts, p.w, p.h, *sides)
    assert value == pytest.approx(expected, rel=TOLERANCE[dtype])
    for found, half in zip(halves, wanted, strict=True):
        assert (found is None) == (half is None)
        if half is not None:
            same(found, half, dtype)


@given(
    rows=st.integers(0, 9),
    n=st.integers(1, 6),
    r=st.integers(1, 5),
    most=st.integers(1, 70),
    chunk=st.integers(1, 40),
    seed=st.integers(0, 2**16),
)
@settings(deadline=None)
def test_products_of_any_shape_agree(launch, rows, n, r, most, chunk, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pattern, "LEAST", chunk)
        p = problem(rows, n, r, seed=seed, most=most)
        q = there(p)
        for found, expected in zip(products(launch, q), expected_products(p), strict=True):
            same(found, expected, np.float64)
        found, expected = (
            kl_rows(launch, *q.parts, q.w, q.h, True, True),
            reference.kl_rows(*p.parts, p.w, p.h, True, True),
        )
        assert found[0] == pytest.approx(expected[0], rel=1e-9, abs=1e-9)
        for half, wanted in zip(found[1:], expected[1:], strict=True):
            same(half, wanted, np.float64)


@pytest.mark.parametrize("numbers", [(np.int32, np.int64), (np.int64, np.int32), (np.int64, np.int64)])
def test_any_integers_number_columns_and_ends(launch, chunk, numbers):
    p = problem(11, 7, 3, numbers=numbers)
    for found, expected in zip(products(launch, there(p)), expected_products(p), strict=True):
        same(found, expected, np.float64)
    assert math.isclose(
        kl_rows(launch, *there(p).parts, there(p).w, there(p).h, True, True)[0],
        reference.kl_rows(*p.parts, p.w, p.h, False, False)[0],
    )


def test_mixed_precisions_and_turned_factors_give_the_wider_one(launch):
    p = problem(11, 7, 3)
    narrow = Problem(p.values.astype(np.float32), p.indices, p.indptr, p.n, np.asfortranarray(p.w), p.h.T.copy().T)
    for found, expected in zip(products(launch, there(narrow))[:3], expected_products(narrow)[:3], strict=True):
        same(found, expected, np.float64)
    mixed = Problem(p.values, p.indices, p.indptr, p.n, p.w.astype(np.float32), p.h)
    q = there(mixed)
    _, a, g = kl_rows(launch, *q.parts, q.w, q.h, True, True)
    for found, expected in zip((a, g), reference.kl_rows(*mixed.parts, mixed.w, mixed.h, True, True)[1:], strict=True):
        same(found, expected, np.float64)
    same(
        sparse.csr_dot(launch, *q.parts, q.h.T.astype(np.float32)),
        reference.csr_dot(*p.parts, p.n, p.h.T.astype(np.float32)),
        np.float64,
    )


def test_nothing_stored_and_no_rows(launch):
    for rows in (0, 4):
        p = problem(rows, 5, 3, most=1)
        q = there(p)
        sampled, dot, tdot, dense = map(to_host, products(launch, q))
        assert [a.shape for a in (sampled, dot, tdot, dense)] == [(0,), (rows, 3), (5, 3), (rows, 5)]
        assert not any(a.any() for a in (dot, tdot, dense))
        value, a, g = kl_rows(launch, *q.parts, q.w, q.h, True, True)
        assert (value, a.shape, g.shape) == (0, (rows, 3), (5, 3))
        stepped = coordinates.scd_rows(launch, *q.parts, q.w, q.h, to_device(p.h.sum(axis=1)), 2, 0.0, 0.0, 1e-3)
        assert (to_host(stepped) == 1e-3).all()


AWKWARD = st.sampled_from([0.0, 0.0, 1.0, 0.5, 1e-18, 1e18, math.nan, math.inf])  # quotients within float32


@given(values=st.lists(AWKWARD, min_size=1, max_size=9), fits=st.data(), dtype=st.sampled_from(DTYPES))
@settings(deadline=None)
def test_zeros_and_what_is_no_number_count_as_in_the_reference(launch, values, fits, dtype):
    n = len(values)
    x = np.array(values).astype(dtype)
    h = np.array([fits.draw(st.lists(AWKWARD, min_size=n, max_size=n))]).astype(dtype)
    parts = x, np.arange(n, dtype=np.int32), np.array([0, n])
    w = np.ones((1, 1), dtype)
    value, a, g = kl_rows(launch, *map(to_device, parts), to_device(w), to_device(h), True, True)
    with np.errstate(all="ignore"):
        expected, left, right = reference.kl_rows(*parts, w, h, True, True)
        terms = np.abs(reference.kl_terms(x, h[0]))
    np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-6 * np.sum(terms[np.isfinite(terms)]))
    np.testing.assert_allclose(to_host(a), left, rtol=1e-6)
    np.testing.assert_allclose(to_host(g), right, rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("r", "l1", "l2", "floor"), [*((r, 0.3, 0.2, 1e-3) for r in RANKS), *((r, 0.0, 0.0, 0.0) for r in (1, 33))]
)
def test_coordinate_steps_agree(launch, r, dtype, l1, l2, floor):
    p = problem(7, 6, r, dtype, most=50)
    q, sums = there(p), p.h.sum(axis=1)
    found = coordinates.scd_rows(launch, *q.parts, q.w, q.h, to_device(sums), 2, l1, l2, floor)
    expected = reference.scd_rows(*p.parts, p.w, p.h, sums, 2, l1, l2, floor)
    assert to_host(found).dtype == dtype
    scale = 1e-9 if dtype == np.float64 else 2e-3
    np.testing.assert_allclose(to_host(found), expected, rtol=scale, atol=scale * expected.max())
    assert (to_host(q.w) == p.w).all()


def test_coordinate_steps_from_far_off_and_where_nothing_pulls(launch):
    """A fit cannot be less than what one column gives, whatever is lost in a difference; 0 / 0 is no step."""
    x, pattern_of_one = np.ones(1), (np.zeros(1, np.int32), np.array([0, 1]))
    for w, h in (([[1e17, 0.5]], [[1.0], [1.0]]), ([[0.0, 0.5]], [[0.0], [1.0]]), ([[0.7, 0.5]], [[0.0], [0.0]])):
        given = x, *pattern_of_one, np.array(w), np.array(h), np.sum(h, axis=1)
        found = coordinates.scd_rows(launch, *map(to_device, given), 2, 0.0, 0.0, 0.0)
        same(found, reference.scd_rows(*given, 2, 0.0, 0.0, 0.0), np.float64)


def test_coordinate_steps_where_nothing_fits(launch):
    """ŷ = 0 at entries that are stored."""
    p = problem(11, 7, 3)
    w, h = p.w.copy(), p.h.copy()
    w[::2], h[:, :3] = 0, 0
    steps = 2, 0.1, 0.2, 0.0
    found = coordinates.scd_rows(launch, *map(to_device, (*p.parts, w, h, h.sum(axis=1))), *steps)
    with np.errstate(over="ignore"):
        same(found, reference.scd_rows(*p.parts, w, h, h.sum(axis=1), *steps), np.float64)


@given(x=some.matrices(), r=st.integers(1, 4), l1=st.sampled_from([0.0, 0.5]), data=st.data())
@settings(deadline=None)
def test_coordinate_steps_never_raise_the_objective(launch, x, r, l1, data):
    csr = some.sparse(x)
    w = data.draw(some.nonnegative((len(x), r), positive=True))
    h = data.draw(some.nonnegative((r, x.shape[1]), positive=True))

    def objective(w):
        y = w @ h
        fit = np.where(x > 0, x * np.log(np.where(x > 0, x, 1) / y) - x, 0).sum(axis=1)
        return fit + y.sum(axis=1) + l1 * w.sum(axis=1)

    given = map(to_device, (csr.values, csr.indices, csr.indptr, w, h, h.sum(axis=1)))
    new = to_host(coordinates.scd_rows(launch, *given, 1, l1, 0.0, 1e-12))
    assert (objective(new) <= objective(w) * (1 + 1e-9) + 1e-9 * x.sum() + 1e-9).all()


def symmetric_problem(n, r, dtype):
    rng = np.random.default_rng([n, r])
    a = some.mirrored(rng.random((n, n)) * (rng.random((n, n)) < 0.5) - 0.1 * np.eye(n)).astype(dtype)
    return a, some.sparse(a), rng.random((n, r)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "r"), [(1, 1), (9, 1), (9, 4), (35, 33)])
def test_symmetric_steps_agree(launch, n, r, dtype):
    _, csr, h = symmetric_problem(n, r, dtype)
    given = tuple(map(to_device, (csr.values, csr.indices, csr.indptr, h)))
    inner = 2 if r < 9 else 1
    expected = symmetric_reference.symmetric_cd(csr.values, csr.indices, csr.indptr, h, inner)
    same(symmetric.symmetric_cd(launch, *given, inner), expected, dtype)
    assert (to_host(given[-1]) == h).all()


@pytest.mark.parametrize(("n", "r"), [(12, 31), (5, 33), (4, 130)])
def test_symmetric_steps_reach_the_same_objective(launch, n, r):
    """Where h hᵀ can be all of A, roots are third roots of roundings."""
    a, csr, h = symmetric_problem(n, r, np.float64)
    parts = csr.values, csr.indices, csr.indptr
    found = to_host(symmetric.symmetric_cd(launch, *map(to_device, (*parts, h)), 2))
    expected = symmetric_reference.symmetric_cd(*parts, h, 2)
    assert math.isclose(np.sum((a - found @ found.T) ** 2), np.sum((a - expected @ expected.T) ** 2), rel_tol=1e-9)


def test_every_kernel_repeats_to_the_bit(launch, chunk):
    p = problem(11, 7, 33, np.float32)

    def once():
        q = there(p)
        value, a, g = kl_rows(launch, *q.parts, q.w, q.h, True, True)
        steps = coordinates.scd_rows(launch, *q.parts, q.w, q.h, to_device(p.h.sum(axis=1)), 2, 0.0, 0.0, 0.0)
        return [value, *map(to_host, (a, g, steps, *products(launch, q)))]

    for one, other in zip(once(), once(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_long_rows_and_columns_keep_their_precision(launch, monkeypatch):
    monkeypatch.setattr(pattern, "LEAST", 20_000)
    rng = np.random.default_rng(0)
    x = rng.random(20_000, dtype=np.float32) + np.float32(0.1)
    b = rng.random((len(x), 2), dtype=np.float32)
    expected = x.astype(np.float64) @ b.astype(np.float64)
    count, ends = np.arange(len(x), dtype=np.int32), np.array([0, len(x)])
    row = sparse.csr_dot(launch, *map(to_device, (x, count, ends)), to_device(b))
    by_row = np.zeros_like(count), np.arange(len(x) + 1)
    column = sparse.csr_tdot(launch, *map(to_device, (x, *by_row)), 1, to_device(b))
    for found in (row, column):
        np.testing.assert_allclose(to_host(found)[0], expected, rtol=3e-7)
