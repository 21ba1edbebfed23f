"""Mean and spread of columns: the same in any pieces, badly conditioned columns, constant ones."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from standardized import COUNTS, FOLDED, RNG, found, over, signed

from nmfkit.blocks import Dense
from nmfkit.errors import DataError
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.plan import make_plan
from nmfkit.preprocessing import Moments, Standard
from nmfkit.sources import open_source
from nmfkit.sources.array import ArraySource
from nmfkit.testing import StrictArray, to_device, to_host
from nmfkit.testing import strategies as some


@st.composite
def pieces(draw):
    """A matrix and how to cut it into runs of rows."""
    x = draw(signed())
    inner = draw(st.sets(st.integers(1, len(x) - 1))) if len(x) > 1 else set()
    return x, list(pairwise([0, *sorted(inner), len(x)]))


def exact(x):
    wide = x.astype(np.longdouble)
    return wide.mean(axis=0), wide.std(axis=0)


@given(pieces(), st.sampled_from([np.float32, np.float64]), st.booleans())
def test_moments_are_the_same_in_any_pieces(case, dtype, sparse):
    x, cuts = case[0].astype(dtype), case[1]
    block = some.sparse(x) if sparse else Dense(x)
    moments, (mean, deviation) = found([block.rows(lo, hi) for lo, hi in cuts]), exact(x)
    size = np.abs(x).max(axis=0)
    assert moments.count == len(x)
    assert moments.mean.dtype == moments.m2.dtype == np.float64
    assert np.all(np.abs(moments.mean - mean) <= 1e-15 * size)
    assert np.all(np.abs(moments.deviation - deviation) <= 1e-14 * size)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("rows", [1, 7, 64, 5000])
def test_moments_of_badly_conditioned_columns(rows, sparse):
    rng = np.random.default_rng(0)
    x = np.array([1e8, -1e8, 1.0, 0.0]) + rng.standard_normal((5000, 4)) * [1, 1, 1e-6, 1e-6]
    block = some.sparse(x) if sparse else Dense(x)
    moments, (mean, deviation) = found([block.rows(lo, min(5000, lo + rows)) for lo in range(0, 5000, rows)]), exact(x)
    np.testing.assert_allclose(moments.deviation, deviation.astype(float), rtol=1e-12)
    np.testing.assert_allclose(moments.mean[:3], mean[:3].astype(float), rtol=1e-12)


moments_ = st.builds(
    lambda count, mean, m2: Moments(count, np.array(mean), np.zeros(3), np.array(m2)),
    st.integers(1, 10**9),
    st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
    st.lists(st.floats(0, 1e6), min_size=3, max_size=3),
)


@given(moments_, moments_, moments_)
def test_moments_add_in_any_order(a, b, c):
    for one, other in ((a + b, b + a), ((a + b) + c, a + (b + c))):
        size = max(np.abs(part.mean).max() for part in (a, b, c))
        assert one.count == other.count
        np.testing.assert_allclose(one.mean, other.mean, rtol=1e-13, atol=1e-14 * size)
        np.testing.assert_allclose(one.deviation, other.deviation, rtol=1e-11, atol=1e-14 * size)


def test_moments_are_learnt_in_one_read_by_threads():
    x = RNG.gamma(2.0, size=(4000, 300)) + 5
    reads = []

    class Counting(ArraySource):
        def read(self, lo, hi):
            reads.append((lo, hi))
            return super().read(lo, hi)

    source = Counting(x)
    plan = make_plan(source, width=1, dtype=x.dtype, elementwise=True, forms_product=False, threads=2)
    with LocalExecutor(source, plan) as executor:
        known = FOLDED.learn(executor.sweep, np.float64)
    assert len(reads) > 1
    assert sorted(reads) == list(pairwise([0, *(hi for _, hi in sorted(reads))]))
    np.testing.assert_allclose(known["mean"], x.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(known["scale"], x.std(axis=0), rtol=1e-12)


@pytest.mark.parametrize("block", [Dense(COUNTS), some.sparse(COUNTS)], ids=["dense", "sparse"])
def test_moments_on_a_device(block):
    there, here = found([to_device(block.rows(0, 9)), to_device(block.rows(9, 60))]), found([block])
    standard, expected = Standard.of(there, np.float64), Standard.of(here, np.float64)
    assert type(standard.scale) is StrictArray
    np.testing.assert_allclose(to_host(standard.mean), expected.mean, atol=1e-15)
    np.testing.assert_allclose(to_host(standard.scale), expected.scale, rtol=1e-13)


# --- constant columns ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sparse", [False, True])
@given(st.floats(1e-30, 1e30), st.sampled_from([-1, 1]), st.integers(1, 40))
def test_a_constant_column_is_zero_also_where_new_data_vary(sparse, dtype, value, sign, rows):
    x = np.column_stack((np.full(40, sign * value), np.arange(40) % 3)).astype(dtype)
    block = some.sparse(x) if sparse else Dense(x)
    known = FOLDED.learn(over(*(block.rows(lo, min(40, lo + rows)) for lo in range(0, 40, rows))), dtype)
    assert known["scale"][0] == 0 < known["scale"][1]
    new = np.array([[0, 1], [-7 * value, 2], [5, 0]]).astype(dtype)
    for each in (block, some.sparse(new), Dense(new)):
        assert not FOLDED.view(each, known).dense()[:, [0, 2]].any()
    back = FOLDED.back(FOLDED.view(Dense(new), known).values, known)
    np.testing.assert_array_equal(back[:, 0], x[:3, 0])


@pytest.mark.parametrize("sparse", [False, True])
def test_constants_of_which_sums_are_far_from_exact(sparse):
    x = np.full((200_000, 2), 0.1)
    x[::2, 1] *= 1 + 1e-12
    assert abs(sum(x[:, 0]) / len(x) - 0.1) > 1e-13 * 0.1, "the sum is too good to tell"
    block = sp_block(sp.csr_array(x)) if sparse else Dense(x)
    known = FOLDED.learn(over(block), np.float64)
    assert known["mean"][0] == pytest.approx(0.1, rel=1e-15)
    assert known["scale"][0] == 0
    assert known["scale"][1] == pytest.approx(0.5e-13, rel=1e-3)


def sp_block(x):
    return open_source(x).read(0, x.shape[0])


def test_what_float32_cannot_divide_by_is_constant():
    x = np.column_stack((np.arange(4) * 1e-40, np.arange(4)))
    assert FOLDED.learn(over(Dense(x)), np.float32)["scale"][0] == 0
    assert FOLDED.learn(over(Dense(x)), np.float64)["scale"][0] > 0


@pytest.mark.parametrize("x", [np.ones((5, 3)), np.zeros((5, 3)), COUNTS[:1]], ids=["ones", "zeros", "one row"])
def test_nothing_but_constants_is_refused(x):
    for block in (Dense(x), some.sparse(x)):
        with pytest.raises(DataError, match="every column of the matrix is constant"):
            FOLDED.learn(over(block), np.float64)


@pytest.mark.parametrize(("entry", "dtype"), [(1e200, np.float64), (1e50, np.float32)])
def test_what_overflows_is_refused_with_its_column(entry, dtype):
    x = COUNTS.copy()
    x[4, 2] = entry
    for blocks in ([Dense(x)], [some.sparse(x)], [Dense(x[:3]), Dense(x[3:])]):
        with pytest.raises(DataError, match="column 2 has entries too large"):
            FOLDED.learn(over(*blocks), dtype)
