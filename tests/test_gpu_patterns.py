"""What is kept of sparse patterns: sorted once while their block lives, never taken for another's, and bounded."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from csr_problems import Problem, problem, same, there
from launched import needs_compiler

from nmfkit.kernels import reference
from nmfkit.kernels.cuda import pattern, sparse
from nmfkit.testing import to_device, to_host
from nmfkit.testing.cuda_on_cpu import kernels_on_cpu

pytestmark = needs_compiler


@pytest.fixture(scope="module")
def launch():
    with kernels_on_cpu() as own:
        yield own


@pytest.fixture
def kept():
    """What is kept of this test's patterns, and of no other's."""
    own = pattern.Kept()
    with pattern.keeping(own):
        yield own


def turned(launch, indices, indptr, n):
    return [to_host(part) for part in pattern.turned(launch, indices, indptr, n)]


def test_a_turned_pattern_lists_the_entries_by_column_and_row(launch, kept):
    p = problem(30, 5, 1)
    order, rows, starts = turned(launch, to_device(p.indices), to_device(p.indptr), p.n)
    assert (np.diff(starts) == np.bincount(p.indices, minlength=5)).all()
    assert (rows == reference.row_of_entry(p.indptr)[order]).all()
    assert (order == np.lexsort((np.arange(len(order)), p.indices))).all()
    assert order.dtype == rows.dtype == np.int32


def test_a_pattern_is_turned_once_while_its_block_lives(launch, kept):
    p = problem(30, 5, 1)
    q = there(p)
    first = pattern.turned(launch, *q.pattern, p.n)
    assert pattern.turned(launch, *q.pattern, p.n) is first
    assert len(kept.entries) == 1
    del q
    gc.collect()
    assert not kept.entries


def test_no_pattern_is_taken_for_another(launch, kept):
    """Arrays come and go, so that addresses and identities come again."""
    for seed in range(50):
        p = problem(6, 4, 1, seed=seed)
        q = there(p)
        for _ in range(2):
            same(sparse.csr_tdot(launch, *q.parts, p.n, q.w), reference.csr_tdot(*p.parts, p.n, p.w), np.float64)
            assert len(kept.entries) == 1


def test_an_entry_under_the_number_of_another_array_is_not_taken(launch, kept):
    """As one would find it, where an array is gone and its number given to another before anybody hears of it."""
    one, other = (problem(30, 5, 1, seed=seed) for seed in (0, 1))
    p, q = there(one), there(other)
    found = pattern.turned(launch, *p.pattern, 5)
    kept.entries[pattern._key(q.indices, 5)] = kept.entries[pattern._key(p.indices, 5)]
    assert pattern.turned(launch, *q.pattern, 5) is not found
    same(sparse.csr_tdot(launch, *q.parts, 5, q.w), reference.csr_tdot(*other.parts, 5, other.w), np.float64)


def test_rows_that_differ_in_empty_ones_are_told_apart(launch, kept):
    indices, w = to_device(np.array([0, 1, 1], np.int32)), np.arange(3.0)[:, None]
    values = to_device(np.ones(3))
    for ends in ([0, 1, 3, 3], [0, 0, 1, 3], [0, 1, 3, 3]):
        found = sparse.csr_tdot(launch, values, indices, to_device(np.array(ends)), 2, to_device(w))
        same(found, reference.csr_tdot(np.ones(3), np.array([0, 1, 1]), np.array(ends), 2, w), np.float64)
    assert sparse.csr_tdot(launch, values, indices, to_device(np.array([0, 1, 3, 3])), 4, to_device(w)).shape == (4, 1)


def test_what_is_kept_is_bounded(launch, kept):
    blocks = [there(problem(30, 5, 1, seed=seed)) for seed in range(4)]
    one = pattern._bytes(pattern.turned(launch, *blocks[0].pattern, 5))
    kept.most = int(2.5 * one)
    for _ in range(2):
        for q in blocks:
            p = Problem(*map(to_host, (*q.parts,)), 5, to_host(q.w), to_host(q.h))
            same(sparse.csr_tdot(launch, *q.parts, 5, q.w), reference.csr_tdot(*p.parts, 5, p.w), np.float64)
            assert sum(map(pattern._size, kept.entries.values())) <= 2.5 * one
    assert len(kept.entries) == 2


def test_patterns_belong_to_whoever_keeps_them_and_to_one_thread(launch):
    q = there(problem(30, 5, 1))
    mine, other = pattern.Kept(), pattern.Kept()
    with pattern.keeping(mine):
        first = pattern.turned(launch, *q.pattern, 5)
        with pattern.keeping(other):
            assert pattern.turned(launch, *q.pattern, 5) is not first
        with pytest.raises(KeyError), pattern.keeping(other):
            raise KeyError
        assert pattern.turned(launch, *q.pattern, 5) is first
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(pattern.turned, launch, *q.pattern, 5).result() is not first
    assert [len(kept.entries) for kept in (mine, other)] == [1, 1]
    mine.drop()
    assert not mine.entries
    assert other.entries
    del q
    gc.collect()
    assert not other.entries


def test_parts_of_an_array_are_known_by_their_place_and_live_as_long_as_it():
    """Of CuPy's own class, which exists without a GPU; the addresses are made up."""
    cupy = pytest.importorskip("cupy")
    memory = cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(4096, 400, None, 0), 0)
    whole = cupy.ndarray((10,), np.int32, memptr=memory)
    parts = whole[:5], whole[5:], whole[:4]
    assert len({pattern._key(part, 7) for part in (whole, *parts)}) == 4
    assert pattern._key(whole[:5], 7) == pattern._key(parts[0], 7) != pattern._key(parts[0], 8)
    assert all(pattern._owner(part) is whole for part in parts)
    many = cupy.ndarray((400,), np.uint8, memptr=memory)  # memory that blocks pass through
    passing = many[:40].view(np.int32)
    assert pattern._owner(passing) is passing
    gone = []
    watch = weakref.ref(whole, gone.append)
    del whole
    assert not gone
    del parts
    assert gone == [watch]


@pytest.mark.parametrize(("entries", "r"), [(0, 3), (1, 3), (1000, 1), (9 * 2**20, 2)])
def test_a_plan_counts_the_parts_of_sums(entries, r):
    count, _ = sparse._chunks(entries)
    _, parts = sparse._sums(to_device(np.ones(1)), 1, r, count)
    assert pattern.sums_bytes(entries, r) == parts.nbytes
