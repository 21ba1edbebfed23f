"""Kernels in CUDA C, run on the CPU: every one of the table means what its reference means, to the bit at every run.

What the tests of losses, sweeps and least squares ask of every version is asked of these versions there.
"""

from __future__ import annotations

import inspect
import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from launched import called, needs_compiler

from nmfkit import kernels
from nmfkit.kernels import reference, roots
from nmfkit.kernels.cuda import WARP, dense, solve, sweeps
from nmfkit.kernels.cuda import roots as cuda_roots
from nmfkit.testing import strategies as some
from nmfkit.testing import to_device, to_host
from nmfkit.testing.cuda_on_cpu import kernels_on_cpu

pytestmark = needs_compiler

DTYPES = st.sampled_from([np.float32, np.float64])
BOUND = {np.float32: 4e-6, np.float64: 1e-13}
"""Some ten roundings, and what single precision loses in them."""
SPECIAL = [0.0, -0.0, 1.0, np.nan, np.inf, -np.inf, 1e-30, -2.0]


def close(found, expected, dtype, size=0.0):
    """`size` is that of what cancels in them."""
    np.testing.assert_allclose(found, expected, rtol=BOUND[dtype], atol=BOUND[dtype] * size)


# --- the table ------------------------------------------------------------------------------------------------------


def everything(seed=0, dtype=np.float64):
    """Arguments of each kernel of the table."""
    rng = np.random.default_rng(seed)
    x, w, h = (rng.random(shape).astype(dtype) for shape in ((6, 9), (6, 3), (3, 9)))
    csr, gram = some.sparse(x * (x > 0.4)), h @ h.T
    pattern, square = (csr.indices, csr.indptr), some.sparse(some.mirrored(x))
    return {
        "sampled_product": (w, h, *pattern),
        "csr_dot": (csr.values, *pattern, 9, h.T.copy()),
        "csr_tdot": (csr.values, *pattern, 9, w),
        "csr_dense": (csr.values, *pattern, 9),
        "hals": (w, gram, x @ h.T, 2),
        "nnls": (gram, x @ h.T - 0.5, w),
        "kl_split": (x, w @ h),
        "beta_split": (x, w @ h, 0.7, np.zeros_like(x), np.zeros_like(x)),
        "kl_rows": (csr.values, *pattern, w, h, True, True),
        "totals": (x,),
        "folded_scores": (x, x.mean(axis=0), 1 / x.std(axis=0), 1.5, np.zeros((6, 18), dtype)),
        "power_root": (w, -w[::-1].copy(), 2.0, 0.0, 60.0),
        "quadratic_root": (w, w - w[:1], -w[::-1].copy(), 1.0, 60.0),
        "tied_root": (w, w - 0.5, w[::-1].copy(), 60.0),
        "scd_rows": (csr.values, *pattern, w, h, h.sum(axis=1), 2, 0.1, 0.2, 1e-16),
        "symmetric_cd": (square.values, square.indices, square.indptr, w, 2),
    }


def test_the_table_is_complete():
    assert set(re.findall(r"^\| `(\w+)\(", kernels.__doc__, re.MULTILINE)) == set(everything())


def moved(arguments):
    return [to_device(a) if isinstance(a, np.ndarray) else a for a in arguments]


def outcome(name, arguments):
    """Result and arguments, some of which are written to."""
    return to_host([getattr(kernels, name)(*arguments), [*arguments]])


def flat(value):
    if isinstance(value, list | tuple):
        return [part for v in value for part in flat(v)]
    return [] if value is None else [value]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", everything())
def test_every_kernel_has_both_sides(name, dtype):
    arguments = everything(dtype=dtype)[name]
    plain = flat(outcome(name, moved(arguments)))  # without a launcher
    with kernels_on_cpu() as launch:
        first, again = (flat(outcome(name, moved(arguments))) for _ in range(2))
    assert launch.launched
    for one, other, expected in zip(first, again, plain, strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.asarray(one).dtype == np.asarray(expected).dtype
        np.testing.assert_allclose(one, expected, rtol=2e-5 if dtype == np.float32 else 1e-11, atol=1e-7)


def test_kernels_of_the_host_launch_nothing():
    for name, arguments in everything().items():
        with kernels_on_cpu() as launch:
            getattr(kernels, name)(*arguments)
        assert not launch.launched


def test_arrays_of_whole_numbers_take_the_reference():
    x = np.arange(6).reshape(2, 3)
    with kernels_on_cpu() as launch:
        there = kernels.totals(to_device(x.astype(np.int16)))
    assert not launch.launched
    assert there[2] == 55


def test_a_wrapper_takes_what_its_kernel_takes():
    for module, reference_module in ((dense, reference), (sweeps, reference), (cuda_roots, roots)):
        for name, wrapper in inspect.getmembers(module, inspect.isfunction):
            if hasattr(reference_module, name) and wrapper.__module__ == module.__name__:
                expected = [*inspect.signature(getattr(reference_module, name)).parameters]
                assert [*inspect.signature(wrapper).parameters] == ["launch", *expected], name


# --- dense data -----------------------------------------------------------------------------------------------------


@given(some.matrices(shape=(3, 5)), some.matrices(shape=(3, 5)), DTYPES)
def test_kl_is_the_references(x, y, dtype):
    x, y = x.astype(dtype), y.astype(dtype)
    there, here = y.copy(), y.copy()
    found, expected = called(dense.kl_split, x, there), reference.kl_split(x.astype(np.float64), y.astype(np.float64))
    both = (x > 0) & (y > 0)
    size = float(np.sum(x[both] * (np.abs(np.log(x[both] / y[both])) + 1)))
    close(found, expected, dtype, size)
    with np.errstate(over="ignore"):  # data over the floor
        reference.kl_split(x, here)
    np.testing.assert_array_equal(there, here)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.5, -1.0, 3.0, 0.7, 2.5])
def test_entries_out_of_range_are_as_in_the_reference(beta):
    for v, at in itertools.product([0.0, 1.0, np.nan, np.inf], repeat=2):
        x, y = np.full((1, 2), v), np.full((1, 2), at)
        pairs = [(np.zeros_like(x), np.zeros_like(x)) for _ in range(2)]
        with np.errstate(all="ignore"):
            expected = reference.beta_split(x, y.copy(), beta, *pairs[0])
        np.testing.assert_allclose(called(dense.beta_split, x, y, beta, *pairs[1]), expected, rtol=1e-12)
        for found, other in zip(pairs[1], pairs[0], strict=True):
            if at < np.inf:  # 0 · ∞ in two steps may be 0 · ∞ or 0
                np.testing.assert_allclose(found, other, rtol=1e-12)


def test_a_divergence_of_nothing_is_zero():
    nothing = np.zeros((0, 4))
    assert called(dense.kl_split, nothing, nothing.copy()) == 0
    assert called(dense.beta_split, nothing, nothing.copy(), 0.5, nothing.copy(), nothing.copy()) == 0


@given(some.matrices(), DTYPES)
def test_totals_are_the_references(x, dtype):
    x = x.astype(dtype)
    for found, expected in zip(called(dense.totals, x), reference.totals(x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize("entry", SPECIAL)
@pytest.mark.parametrize("shape", [(70, 3), (3, 70), (1, 1)])
def test_totals_of_what_is_no_number(entry, shape, monkeypatch):
    monkeypatch.setattr(dense, "COLUMN_THREADS", 200)  # several rows a chunk
    x = np.random.default_rng(0).random(shape) - 0.5
    x[-1, 0] = entry
    with np.errstate(invalid="ignore"):
        expected = reference.totals(x)
    for one, other in zip(called(dense.totals, x), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@given(some.matrices(), DTYPES, st.sampled_from([np.inf, 0.8]))
def test_folded_scores_are_the_references_to_the_bit(x, dtype, clip):
    x = x.astype(dtype)
    mean, inverse = x[-1] / 2, x[-1] + dtype(1)
    x.flat[0] = np.nan
    here, there = (np.zeros((len(x), 2 * x.shape[1]), dtype) for _ in range(2))
    reference.folded_scores(x, mean, inverse, clip, here)
    called(dense.folded_scores, x, mean, inverse, clip, there)
    np.testing.assert_array_equal(there, here)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_whole_numbers_are_added_up_as_in_the_reference(dtype):
    x = np.random.default_rng(0).integers(-9, 9, (70, 5)).astype(dtype)
    for found, expected in zip(called(dense.totals, x), reference.totals(x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13)
    y = np.ones((70, 5))
    there, here = y.copy(), y.copy()
    assert called(dense.kl_split, np.abs(x), there) == pytest.approx(reference.kl_split(np.abs(x), here))
    np.testing.assert_array_equal(there, here)
    with kernels_on_cpu():
        some_left = x * (x > 3)
        csr = some.sparse(some_left)
        parts = [to_device(part) for part in (csr.values, csr.indices, csr.indptr)]
        np.testing.assert_array_equal(to_host(kernels.csr_dense(*parts, 5)), some_left)
        np.testing.assert_array_equal(to_host(kernels.csr_dot(*parts, 5, to_device(y[:5, :2]))), some_left @ y[:5, :2])


def spread_out(a):
    """Its numbers where other arrays would not have them: every other column of a wider array, and that."""
    wide = np.full((a.shape[0], 2 * a.shape[1]), 7, a.dtype)
    there = to_device(wide)
    there[:, ::2] = to_device(a)
    return there[:, ::2], there


WRITTEN = {"kl_split": [1], "beta_split": [3, 4], "folded_scores": [4]}
"""Numbers of the arguments that are written to."""


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_to_may_lie_anywhere(name):
    here, arguments = everything()[name], everything()[name]
    there = moved(arguments)
    around = []
    for i in WRITTEN[name]:
        there[i], wide = spread_out(arguments[i])
        around.append(wide)
    expected = getattr(reference, name)(*here)
    with kernels_on_cpu() as launch:
        found = getattr(kernels, name)(*there)
    assert launch.launched
    np.testing.assert_allclose(float(found or 0), float(expected or 0), rtol=1e-12)
    for i, wide in zip(WRITTEN[name], around, strict=True):
        np.testing.assert_allclose(to_host(there[i]), here[i], rtol=1e-12)
        assert (to_host(wide[:, 1::2]) == 7).all()


def test_halves_may_be_of_other_precisions():
    x, y, beta, *_ = everything(dtype=np.float32)["beta_split"]
    kinds = [(np.float32, np.float64), (np.float64, np.float32)]
    for one, other in kinds:
        here, there = ([np.zeros(x.shape, one), np.zeros(x.shape, other)] for _ in range(2))
        expected = reference.beta_split(x, y.copy(), beta, *here)
        assert called(dense.beta_split, x, y, beta, *there) == pytest.approx(expected, rel=1e-5)
        for found, wanted in zip(there, here, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-5)


# --- sweeps and least squares ---------------------------------------------------------------------------------------


def problem(rows, rank, dtype=np.float64, seed=0):
    rng = np.random.default_rng([seed, rows, rank])
    a = rng.random((2 * rank + 3, rank))
    return rng.random((rows, rank)).astype(dtype), a.T @ a, (rng.standard_normal((rows, len(a))) @ a).astype(dtype)


@pytest.mark.parametrize("rank", [1, 9, 40])
def test_tiles_in_memory_are_as_those_in_shared_memory(rank, monkeypatch):
    f, q, c = problem(150, rank)
    expected = called(sweeps.hals, f, q, c, 2)
    monkeypatch.setattr(sweeps, "SHARED", 0)
    monkeypatch.setattr(sweeps, "FEW_BLOCKS", 2)  # that go through several tiles each
    np.testing.assert_array_equal(called(sweeps.hals, f, q, c, 2), expected)


@pytest.mark.parametrize("entry", SPECIAL)
def test_a_curvature_that_is_no_number_counts_as_none(entry):
    f, q, c = problem(5, 3)
    q[1, 1] = entry
    with np.errstate(invalid="ignore"):
        expected = reference.hals(f, q, c, 1)
    close(called(sweeps.hals, f, q, c, 1), expected, np.float64, 10)


@pytest.mark.parametrize("rank", [1, 31, 33, 70])
def test_factors_in_memory_are_as_those_in_shared_memory(rank, monkeypatch):
    x, q, c = problem(5, rank)
    here, there = x.copy(), x.copy()
    assert called(solve.pivot, q, c, here, 200).all()
    monkeypatch.setattr(solve, "SHARED", 0)
    monkeypatch.setattr(solve, "FEW_BLOCKS", 2)
    assert called(solve.pivot, q, c, there, 200).all()
    np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_block_wants_more_shared_memory_than_every_gpu_has(dtype):
    asked = []

    def launch(*given, shared, **types):
        asked.append(shared)

    for rank in [*range(1, 200, 7), 252, 253, 504, 505, 800]:
        f, q = to_device(np.ones((3, rank), dtype)), to_device(np.eye(rank, dtype=dtype))
        sweeps.hals(launch, f, q, f, 1)
        solve.pivot(launch, q, f, f, 1)
    assert max(asked) <= 64 * 1024  # of compute capability 7.5, which has the least
    assert max(asked) > 60 * 1024
    assert min(asked) < 2048


def test_a_minimiser_goes_to_where_its_start_was():
    x, q, c = problem(5, 4)
    here, there = x.copy(), np.asfortranarray(x)
    for start in (here, there):
        assert called(solve.pivot, q, c, start, 200).all()
    np.testing.assert_array_equal(here, there)
    assert (here != x).any()


def test_a_block_goes_through_many_rows(monkeypatch):
    x, q, c = problem(23, 4)
    here, there = x.copy(), x.copy()
    called(solve.pivot, q, c, here, 200)
    monkeypatch.setattr(solve, "BLOCKS", 3)
    called(solve.pivot, q, c, there, 200)
    np.testing.assert_array_equal(here, there)
    assert WARP == 32


# --- roots of surrogates --------------------------------------------------------------------------------------------


@st.composite
def coefficients(draw, count):
    """Arrays (rows, r), or a row, a column, a number for all; nonnegative, with zeros."""
    rows, r, dtype = draw(st.integers(0, 5)), draw(st.integers(1, 4)), draw(DTYPES)
    shapes = st.sampled_from([(rows, r), (1, r), (r,), (rows, 1), (1, 1)])
    sizes = st.one_of(st.just(0.0), st.floats(1e-6, 1e6))
    drawn = [draw(some.arrays(draw(shapes), sizes)).astype(dtype) for _ in range(count - 1)]
    return [draw(some.arrays((rows, r), sizes)).astype(dtype), *drawn], dtype


POWERS = st.sampled_from([(1.0, 0.0), (2.0, 0.0), (1.0, -1.0), (2.0, 1.0), (1.5, 0.5), (3.0, 1.0), (1.0, 0.3)])


@given(coefficients(2), POWERS, st.booleans(), st.sampled_from([60.0, 2.0]))
def test_roots_of_two_powers_are_the_references(drawn, powers, pushes_down, reach):
    (high, low), dtype = drawn
    high = -high if pushes_down and powers[0] == 1 else high
    low = low - dtype(1) if powers[1] == 1 else -low
    found = called(cuda_roots.power_root, high, low, *powers, reach)
    expected = roots.power_root(high, low, *powers, reach)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found, expected, rtol=20 * BOUND[dtype])


@given(coefficients(3), st.sampled_from([1.0, 0.5, 2.0]), st.booleans())
def test_roots_of_three_powers_are_the_references(drawn, spacing, pushes_down):
    (a, b, c), dtype = drawn
    b = -b if pushes_down else b
    found = called(cuda_roots.quadratic_root, a, b, -c, spacing, 60.0)
    expected = roots.quadratic_root(a, b, -c, spacing, 60.0)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found, expected, rtol=20 * BOUND[dtype])


@given(coefficients(3), st.sampled_from([1.0, 1e-300, 1e-30, 1e30]), st.booleans())
def test_tied_roots_are_the_references(drawn, scale, pushes_down):
    (weight, slope, pull), dtype = drawn
    weight = (weight * scale).astype(dtype) if np.finfo(dtype).tiny < scale < 1e31 else weight
    slope = -slope if pushes_down else slope
    found = called(cuda_roots.tied_root, weight, slope, pull, 60.0)
    with np.errstate(all="ignore"):
        expected = roots.tied_root(*np.broadcast_arrays(weight, slope, pull), 60.0)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found, expected, rtol=BOUND[dtype], atol=np.finfo(dtype).tiny)


def test_tied_roots_of_any_size():
    grid = np.meshgrid(
        [1e-210, 1e-30, 1.0, 1e30], [-1e6, -800.0, -1.0, 0.0, 1e-3, 800.0, 1e6], [0.0, 1e-250, 1e-9, 1, 1e200]
    )
    weight, slope, pull = (a.reshape(-1, 1) for a in grid)
    for scale in (1.0, weight):
        found = called(cuda_roots.tied_root, weight, slope * scale, pull, 60.0)
        with np.errstate(all="ignore"):
            expected = roots.tied_root(weight, slope * scale, pull, 60.0)
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-300)
