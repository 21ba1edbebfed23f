"""Memory on its way to a GPU and back: pieces, buffers, seats, and that all is given back whatever fails."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from fake_device import device, judged, laid_out
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from stand_in_gpus import gpus
from threadpoolctl import threadpool_info

from nmfkit.blocks import CSR, Dense
from nmfkit.executors.device.cuda import Cuda
from nmfkit.executors.device.place import OnDevice
from nmfkit.executors.device.ring import Residence, Ring, held_bytes
from nmfkit.executors.device.rows import RowsThere
from nmfkit.executors.device.seat import Seat
from nmfkit.executors.device.staging import ALIGNED, Staging, parts_of
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.rows import ResidentRows
from nmfkit.testing.chunked import Chunked
from nmfkit.testing.device import to_host
from nmfkit.testing.executor import product
from nmfkit.testing.fake_runtime import FakeRuntime

X = np.random.default_rng(0).random((9, 6))
NEEDS = {"width": 2, "dtype": X.dtype, "elementwise": False, "forms_product": False}


def source():
    return Chunked(X, [(0, 4), (4, 9)])


@pytest.fixture
def runtime():
    with FakeRuntime() as runtime, runtime.active(), runtime.numbers(allowed=True):
        yield runtime


# --- pieces -----------------------------------------------------------------------------------------------------


@st.composite
def layouts(draw):
    """Arrays of any shape, dtype and layout."""
    dtype = draw(st.sampled_from(["f4", "f8", "i4", "i8", "?", "c16"]))
    a = draw(arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9)))
    a = np.asarray(a, order=draw(st.sampled_from("CF")))
    steps = [draw(st.sampled_from([1, 2, -1])) for _ in range(a.ndim)]
    a = a[(..., *(slice(None, None, step) for step in steps))]
    return np.broadcast_to(a[:1], a.shape) if a.ndim and len(a) and draw(st.booleans()) else a


@given(layouts(), st.integers(16, 200))
def test_the_parts_of_an_array_are_its_bytes_in_order(a, size):
    joined = b""
    for at, part in parts_of(a, size):
        assert at == len(joined)
        assert 0 < part.nbytes <= size
        joined += part.tobytes()
    assert joined == a.tobytes()


@given(layouts(), st.integers(16, 200))
def test_an_array_arrives_as_it_was_whatever_becomes_of_it(a, size):
    a = np.array(a, order="K")
    with FakeRuntime() as runtime, runtime.active():
        staging, buffer = Staging(runtime, 2, size), runtime.buffer(ALIGNED + a.nbytes)
        was = a.copy()
        runtime.wait(staging.queue, runtime.mark())  # for memory of its own
        staging.copy(a, buffer, ALIGNED)
        a[...] = ~a if a.dtype == bool else np.zeros_like(a)
        target = buffer.view(ALIGNED, was.shape, was.dtype)
        runtime.wait(None, runtime.mark(staging.queue))
        np.testing.assert_array_equal(runtime.fetch(target), was)
        staging.settle()
        buffer.free()


class Broken(FakeRuntime):
    """A device that fails in the course of things: at its `fails`-th copy from here on."""

    fails = 0

    def put(self, *given):
        self.fails -= 1
        if self.fails == 0:
            raise OSError("no copy")
        super().put(*given)


def test_pieces_and_buffers_come_back_from_copies_that_fail():
    with Broken() as runtime, runtime.active():
        staging = Staging(runtime, 2, 64)
        ring = Ring(runtime, staging, 2, 4096)
        for fails in (1, 2, 3) * 2:
            runtime.fails = fails
            with pytest.raises(OSError, match="no copy"):
                ring.stage(Dense(X), {})
        assert staging._free.qsize() == ring._free.qsize() == 2
        staged = ring.stage(Dense(X), {"w": X[:, :2]})
        runtime.wait(None, staged.arrived)
        np.testing.assert_array_equal(runtime.fetch(staged.block.values), X)
        np.testing.assert_array_equal(runtime.fetch(staged.rows["w"]), X[:, :2])
        ring.free(staged)
        runtime.settle(runtime.mark())
        staging.settle()
        ring.close()


# --- room -------------------------------------------------------------------------------------------------------


def test_a_ring_takes_what_fits_to_the_byte(runtime):
    x = CSR(np.ones(3, np.float32), np.zeros(3, np.int32), np.array([0, 1, 3]), 5)
    assert held_bytes((x, {"w": X[:2]})) == 4 * ALIGNED
    staging = Staging(runtime, 1, 256)
    assert Ring(runtime, staging, 1, 4 * ALIGNED).fits((x, {"w": X[:2]}))
    assert not Ring(runtime, staging, 1, 4 * ALIGNED - 1).fits((x, {"w": X[:2]}))


def test_blocks_stay_as_long_as_there_is_room(runtime):
    staging, one = Staging(runtime, 1, 256), held_bytes(Dense(X))
    residence = Residence(runtime, staging, 2 * one)
    assert residence.might_take(2 * one)
    assert not residence.might_take(2 * one + 1)
    stay = [residence.take(index, Dense(index + X)) for index in range(3)]
    assert stay[2] is None is residence.get(2)
    for index in range(2):
        assert residence.get(index) is stay[index]
        runtime.wait(None, stay[index].arrived)
        np.testing.assert_array_equal(runtime.fetch(stay[index].block.values), index + X)
    assert not residence.might_take(1)
    staging.settle()
    residence.close()


def test_rows_that_came_with_a_block_are_taken_for_no_others(runtime):
    place = SimpleNamespace(enter=lambda rows: {name: runtime.send(f) for name, f in rows.items()})
    rows = RowsThere(ResidentRows({"w": X}), place, (1, 3, {"w": runtime.send(-X[1:3])}))
    for lo, hi, sign in [(1, 3, -1), (1, 2, 1), (0, 3, 1), (2, 3, 1)]:
        np.testing.assert_array_equal(to_host(rows.read(lo, hi))["w"], sign * X[lo:hi])


# --- what is given back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lacks", ["buffer", "pinned"])
def test_a_place_without_room_leaves_nothing(lacks, monkeypatch):
    plan = laid_out(source(), {}, **NEEDS)
    with FakeRuntime() as runtime, judged(runtime):
        with monkeypatch.context() as without:

            def refuse(*given):
                raise MemoryError("no more")

            given_back = []
            without.setattr(runtime, lacks, refuse)
            without.setattr(runtime, "give_back", lambda: given_back.append(lacks))
            with pytest.raises(MemoryError):
                OnDevice(runtime, plan.device)
            assert given_back == [lacks]
        with LocalExecutor(source(), plan, place=OnDevice(runtime, plan.device)) as executor:
            assert executor.sweep(product, None, {"v": np.ones((6, 2))})
        assert runtime.count("buffer") == runtime.count("free") == 1
        assert runtime.kept == 0


def test_an_executor_may_be_closed_again(monkeypatch):
    with device({}, source()) as (executor, runtime):
        given_back = []
        monkeypatch.setattr(runtime, "give_back", lambda: given_back.append(runtime.kept))
        executor.sweep(product, None, {"v": np.ones((6, 2))})
        assert not given_back
        executor.close()
        assert runtime.count("free") == 1
        assert given_back == [0]


def test_all_else_is_given_back_where_the_place_cannot_be(tmp_path):
    threads = [pool["num_threads"] for pool in threadpool_info()]
    plan = replace(laid_out(source(), {}, **NEEDS), rows_resident=False)
    with FakeRuntime() as runtime, judged(runtime):
        place = OnDevice(runtime, replace(plan.device, rows_resident=False))
        executor = LocalExecutor(source(), plan, place=place, scratch=tmp_path)
        rows, _ = executor.sweep(product, None, {"v": np.ones((6, 2))})
        assert [*tmp_path.iterdir()]
        del rows
        close, place.close = place.close, lambda: 1 / 0
        with pytest.raises(ZeroDivisionError):
            executor.close()
        close()
    assert not [*tmp_path.iterdir()]
    assert [pool["num_threads"] for pool in threadpool_info()] == threads


def test_fits_in_two_threads_keep_their_own_patterns():
    """Each within its own plan: another fit's neither shrinks nor widens it."""
    from nmfkit.kernels.cuda import pattern

    plans = [replace(laid_out(source(), {}, **NEEDS).device, pattern_bytes=size) for size in (10, 20)]
    before = pattern._present.kept
    with FakeRuntime() as runtime:
        one, other = (OnDevice(runtime, plan) for plan in plans)
        with one.active():
            assert pattern._present.kept.most == 10
            with ThreadPoolExecutor(1) as pool, other.active():
                assert pattern._present.kept.most == 20
                assert pool.submit(lambda: pattern._present.kept.most).result() == pattern.KEPT
            one_kept = pattern._present.kept
            one_kept.entries[0, 0] = None
            assert one_kept.most == 10
        one.close()
        other.close()
    assert not one_kept.entries
    assert pattern._present.kept is before


class Pool:
    """CuPy's pool, as far as a fit asks it."""

    limit, kept = 5, 7

    def get_limit(self):
        return self.limit

    def set_limit(self, size):
        self.limit = size

    def free_all_blocks(self):
        self.kept = 0


@pytest.fixture
def pool(monkeypatch):
    pool = Pool()
    cupy = SimpleNamespace(
        get_default_memory_pool=lambda: pool,
        cuda=SimpleNamespace(
            Device=lambda number: nullcontext(), memory=SimpleNamespace(OutOfMemoryError=ZeroDivisionError)
        ),
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return pool


@pytest.mark.parametrize("limit", [3, None])
def test_the_limit_of_cupys_memory_is_that_of_the_fit_while_it_lasts(pool, limit):
    gpu = Cuda(limit=limit)
    assert pool.limit == (limit or 0)
    for _ in range(2):
        gpu.give_back()
        assert (pool.limit, pool.kept) == (5, 0)


def test_a_fit_that_ends_leaves_another_its_limit(pool):
    one, _ = Cuda(limit=3), Cuda(limit=4)
    one.give_back()
    assert pool.limit == 4


# --- seats --------------------------------------------------------------------------------------------------------


PLAN = laid_out(source(), {}, **NEEDS).device


class Late:
    """A lock while whose last task ends something happens."""

    def __init__(self, happens):
        self._lock, self._happens = threading.Lock(), happens
        self.acquire, self.release = self._lock.acquire, self._lock.release

    def __enter__(self):
        self._lock.acquire()

    def __exit__(self, *exception):
        self._happens()
        self._lock.release()


def test_a_fit_that_ends_between_a_tasks_end_and_the_next_is_forgotten():
    seat = Seat()
    seat._lock = Late(lambda: seat.forget("a"))
    with gpus() as taken:
        with seat.place("a", PLAN):
            pass
        assert not taken[-1].runtime.buffers
        assert not seat._ended


def test_a_fit_forgotten_while_another_computes_costs_the_other_nothing():
    seat = Seat()
    with gpus() as taken:
        with seat.place("b", PLAN):
            seat.forget("a")
        assert taken[-1].runtime.buffers
        with seat.place("b", PLAN):
            pass
        assert len(taken) == 1
        assert not seat._ended
        seat.forget("b")
        assert not taken[0].runtime.buffers


def test_a_place_that_could_not_be_taken_is_asked_for_again():
    seat = Seat()
    with gpus() as taken:
        with pytest.raises(AttributeError), seat.place("a", object()):
            pass
        with seat.place("a", PLAN), pytest.raises(KeyError):
            raise KeyError
        with seat.place("a", PLAN):
            pass
        assert len(taken) == 1


def test_another_plan_of_the_same_fit_is_another_place():
    seat = Seat()
    with gpus() as taken:
        for plan in (PLAN, replace(PLAN, slots=PLAN.slots + 1)):
            with seat.place("a", plan) as place:
                assert place.plan == plan
        assert [bool(each.runtime.buffers) for each in taken] == [False, True]
        seat.forget("a")


def test_a_task_in_another_thread_waits_for_the_one_before(monkeypatch):
    """Blocks, and what is kept of them, are there from then on; a thread computes in a queue of its own."""
    from nmfkit.executors.device import seat as of_seats

    with FakeRuntime() as runtime, ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        monkeypatch.setattr(of_seats, "device_here", lambda limit: runtime)
        seat, made = Seat(), []

        def task():
            with seat.place("a", PLAN) as place, runtime.numbers(allowed=True):
                if not made:
                    made.append(place.enter(X) * 2)
                return to_host(made[0] + 0)

        for thread in (one, other, one):
            np.testing.assert_array_equal(thread.submit(task).result(), 2 * X)
        made.clear()
        seat.forget("a")
        assert runtime.kept == 0
