"""Every kernel on arrays of a real device: as the reference has it on the host in float64, the same bits each time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from on_gpu import MARKS
from test_kernels_losses import exact

from nmfkit import kernels
from nmfkit.kernels.floors import floor_for
from nmfkit.testing import to_device, to_host
from nmfkit.testing.compare import assert_close

import gpu_kernels  # isort: skip
from gpu_kernels import CASES, Size  # isort: skip

pytestmark = MARKS
RANKS = [1, 2, 7, 15, 16, 17, 31, 32, 33, 50, 64, 65, 129, 200]
SIZES = [(1, 1, 1), (1, 300, 5), (300, 1, 3), (33, 129, 31), (257, 64, 65), (64, 500, 300)]
MANY = {
    "symmetric_cd": (90, 90, 7),
    "nnls": (3000, 1, 20),
    "hals": (70_001, 1, 33),
    **dict.fromkeys(("tied_root", "power_root", "quadratic_root"), (70_001, 1, 3)),
}
DENSE = (1500, 3001, 1)
SPARSE = (20_011, 5_003, 50)


def same(case, dtype, found, expected, size):
    """Results agree; a sum of terms that cancel within what the terms' own size allows."""
    bound = case.bound(dtype)
    for one, other in zip(found, expected, strict=True):
        if other is None:
            assert one is None
        elif isinstance(other, float):
            assert_close(one, other, "value", rtol=bound, atol=bound * 10 * size)
        elif case.entrywise:
            np.testing.assert_allclose(one, other, rtol=bound, atol=1e-30)
        else:
            assert_close(one, other, "result", rtol=bound, atol=bound)  # arguments have entries about 1


def check(name, size, seed):
    case = CASES[name]
    arguments = case.make(np.random.default_rng(seed), size)
    expected = case.exact(*gpu_kernels.widened(arguments))
    first, again = (to_host(case.run(*to_device(arguments))) for _ in range(2))
    same(case, size.dtype, first, expected, arguments[0].size)
    for one, other in zip(first, again, strict=True):
        assert one is other is None or np.array_equal(one, other, equal_nan=True), "other bits, the second time"
    for one in first:
        if isinstance(one, np.ndarray) and name != "totals":  # which are in float64
            assert one.dtype == (np.dtype(size.dtype) if one.ndim else np.float64)  # sums are in double


def test_its_arrays_have_a_launcher():
    from nmfkit.kernels import gpu

    assert gpu.launcher(to_device(np.ones(3))) is not None
    assert gpu.launcher(np.ones(3)) is None


@pytest.mark.parametrize("name", CASES)
@given(drawn=st.data())
def test_kernels_agree_at_any_size(name, drawn):
    rows, n, rank = drawn.draw(st.integers(1, 80)), drawn.draw(st.integers(1, 80)), drawn.draw(st.sampled_from(RANKS))
    if name == "symmetric_cd":
        rows, rank = min(rows, 20), min(rank, 17)
    dtype, index = drawn.draw(st.sampled_from(["float32", "float64"])), drawn.draw(st.sampled_from(["int32", "int64"]))
    size = Size(rows, n, rank, dtype, drawn.draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])), index)
    check(name, size, drawn.draw(st.integers(0, 2**32)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_kernels_agree_at_large_sizes(name, dtype):
    several = SIZES if name not in MANY else []
    large = MANY.get(name, SPARSE if CASES[name].large == gpu_kernels.STORED else DENSE)
    for shape in (*several, large):
        check(name, Size(*shape, dtype, 0.02 if shape == SPARSE else 0.3), 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in CASES if name not in ("totals", "symmetric_cd")])
def test_kernels_take_no_rows(name, dtype):
    check(name, Size(0, 7, 3, dtype, 0.5), 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("beta", [1.0, 0.0, 0.5, 1.5, -1.0, 3.0, 0.7])
def test_losses_at_zeros_and_subnormal_numbers(beta, dtype):
    tiny, most = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
    least = floor_for(np.dtype(dtype), max(2 - beta, 1.0))
    for v, at in itertools.product(np.array([0, tiny / 8, tiny, 1e-12, 1, 50], dtype), repeat=2):
        x, y, pos, neg = to_device([np.full((1, 3), entry, dtype) for entry in (v, at, 0, 0)])
        value = float(kernels.kl_split(x, y) if beta == 1 else kernels.beta_split(x, y, beta, pos, neg))
        halves = to_host((y,) if beta == 1 else (pos, neg))
        assert not np.any(np.isnan(halves)), (v, at)
        expected, size = (3 * float(part) for part in exact(v, at, beta))
        expected = expected if expected < most / 1000 else max(value, most / 1000)
        assert value == pytest.approx(expected, rel=1e-5, abs=1e-6 * size + 100 * tiny), (v, at)
        if v == 0 or v >= 1e-12:  # what began as a subnormal number has lost its digits
            half = v * np.longdouble(max(at, least)) ** (beta - 2)
            np.testing.assert_allclose(halves[-1].astype(np.longdouble), half, rtol=1e-5, atol=10 * tiny)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("beta", [1.0, 0.0, 0.7, 3.0])
@pytest.mark.parametrize("broken", [0, 1])
def test_losses_keep_what_is_no_number(beta, dtype, broken):
    arguments = [np.full((40, 50), 2, dtype), np.full((40, 50), 3, dtype)]
    arguments[broken][2, 5] = np.nan
    x, y = to_device(arguments)
    pos, neg = np.empty_like(y), y
    value = float(kernels.kl_split(x, y) if beta == 1 else kernels.beta_split(x, y.copy(), beta, pos, neg))
    assert np.isnan(value)
    assert np.argwhere(np.isnan(to_host(neg))).tolist() == [[2, 5]]


@pytest.mark.parametrize("order", ["F", "step"])
@pytest.mark.parametrize("name", CASES)
def test_kernels_take_any_layout(name, order):
    case = CASES[name]
    arguments = case.make(np.random.default_rng(3), Size(31, 27, 9, "float64", 0.4))
    expected = case.exact(*gpu_kernels.widened(arguments))
    turned = [laid_out(a, order) if isinstance(a, np.ndarray) and a.ndim == 2 else to_device(a) for a in arguments]
    same(case, "float64", to_host(case.run(*turned)), expected, arguments[0].size)


def laid_out(a, order):
    """The array there, by columns or with every other column of a wider one."""
    if order == "F":
        return to_device(np.ascontiguousarray(a.T)).T
    return to_device(np.repeat(a, 2, axis=1))[:, ::2]
