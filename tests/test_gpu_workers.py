"""Dask workers with a GPU each: their fits are those of workers without, whatever stays on the GPUs."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from clusters import cluster, deadline, until
from stand_in_gpus import GIB, Gpu, gpus, processors

import nmfkit
from nmfkit.executors.blobs import Blobs
from nmfkit.executors.cluster import ClusterExecutor
from nmfkit.executors.device.budget import DevicePlan, device_plan
from nmfkit.executors.device.place import OnDevice
from nmfkit.executors.device.rows import DeviceRows, Returning, RowsThere
from nmfkit.executors.device.seat import Seat
from nmfkit.executors.passes import Beside
from nmfkit.executors.passport import Passport
from nmfkit.executors.rows import ResidentRows
from nmfkit.score import score
from nmfkit.sources.zarr_store import Place
from nmfkit.testing.chunked import Chunked
from nmfkit.testing.device import to_device, to_host

RNG = np.random.default_rng(4)
DENSE = RNG.gamma(0.7, size=(700, 60)) + 0.01
SPARSE = sp.csr_array(np.where(RNG.random(DENSE.shape) < 0.2, DENSE, 0))
WAYS = {"X stays": {}, "X passes through": {"cache_bytes": 0, "resident": False, "slot_bytes": 400_000}}
CASES = {
    "hals": {"rank": 3, "rule": "hals"},
    "kl": {"rank": 3, "loss": "kl", "rule": "mu", "reg_h": ("l1:0.1",)},
    "online": {"rank": 3, "loss": "kl", "rule": "online:parts=3"},
    "deep": {"model": "deep-nmf", "loss": "kl", "ranks": (4, 2), "model_options": {"init_sweeps": 2}},
    "draws": {"model": "ig-mdsr-nmf", "rank": 3, "model_options": {"hidden_sizes": (6,), "batch_size": 64}},
}


@pytest.fixture(autouse=True)
def in_time():
    with deadline():
        yield


@pytest.fixture(scope="module")
def client():
    with cluster(workers=2, processes=False) as there:
        yield there


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    nmfkit.convert(DENSE, folder / "dense", chunk_mb=0.01)
    nmfkit.convert(SPARSE, folder / "sparse", chunk_mb=0.01)
    return folder


def on_gpus(client, device_memory=GIB):
    return {"scheduler": client, "device": "gpu", "device_memory": device_memory}


def fitted(x, machine, *, max_sweeps=3, **given):
    return nmfkit.fit(x, **{"tol": 0, "max_sweeps": max_sweeps, "pilot": "none", "seed": 1, **machine, **given})


def assert_same(there, here, rtol=1e-12):
    np.testing.assert_allclose(there.history.objective, here.history.objective, rtol=rtol)
    for name, f in here.factors.items():
        np.testing.assert_allclose(there.factors[name], f, rtol=1e3 * rtol, atol=1e3 * rtol * np.max(f))


@pytest.mark.parametrize("changes", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("case", CASES)
def test_a_fit_is_that_of_processors(client, stored, case, kind, changes):
    with gpus(**changes) as taken:
        there = fitted(stored / kind, on_gpus(client), **CASES[case])
        with processors():
            here = fitted(stored / kind, on_gpus(client), **CASES[case])
    assert_same(there, here)
    assert {place.runtime.limit for place in taken} == {GIB}


@pytest.mark.parametrize("changes", WAYS.values(), ids=WAYS)
def test_a_fit_goes_on_from_its_store(client, stored, tmp_path, changes):
    given = {"rank": 3, "rule": "hals"}
    with gpus(**changes):
        whole = fitted(stored / "dense", on_gpus(client), max_sweeps=6, **given)
        fitted(stored / "dense", on_gpus(client), out=tmp_path / "run", **given)
        resumed = nmfkit.resume(tmp_path / "run", max_sweeps=6, **on_gpus(client))
    assert_same(resumed, whole, rtol=0)


@pytest.mark.parametrize("changes", WAYS.values(), ids=WAYS)
def test_rows_of_new_data_and_scores_are_those_of_processors(client, stored, changes):
    known = fitted(stored / "dense", {"threads": 1}, rank=3)
    found = []
    with gpus(**changes) as taken:
        for where in (nullcontext, processors):
            with where():
                w = nmfkit.transform(known, stored / "sparse", **on_gpus(client))
                found.append((w, score(known, stored / "dense", **on_gpus(client)).relative_error))
        assert taken
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-12)


# --- one device, several fits -----------------------------------------------------------------------------------


def test_a_fit_that_is_over_leaves_nothing(client, stored):
    with gpus() as taken:
        for _ in range(2):
            fitted(stored / "dense", on_gpus(client), rank=3)
            until(lambda: not any(place.runtime.buffers for place in taken), "the memory of a fit that is over")
    assert len(taken) >= 2


def test_two_fits_at_once_take_turns_on_a_worker(stored):
    with cluster(workers=1, threads_per_worker=2, processes=False) as one, gpus() as taken:
        alone = fitted(stored / "dense", on_gpus(one), rank=3)
        with ThreadPoolExecutor(2) as pool:
            both = [pool.submit(fitted, stored / "dense", on_gpus(one), rank=3) for _ in range(2)]
            for fit in both:
                assert_same(fit.result(), alone, rtol=0)
        until(lambda: not any(place.runtime.buffers for place in taken), "the memory of fits that are over")


PLAN = DevicePlan(
    memory=GIB, shared_bytes=0, rows_bytes=0, rows_resident=False, block_bytes=1024, slots=3, slot_bytes=4096,
    cache_bytes=4096, pattern_bytes=0, resident=False, step_bytes=0, sent_per_sweep=0, returned_per_sweep=0, readers=1,
    pieces=2, piece_bytes=1024,
)  # fmt: skip


def test_another_fit_makes_the_last_one_go():
    seat = Seat()
    with gpus() as taken:
        for run, count in (("a", 1), ("a", 1), ("b", 2), ("a", 3)):
            with seat.place(run, PLAN) as place:
                assert place is taken[-1]
            assert len(taken) == count
            assert [bool(each.runtime.buffers) for each in taken] == [False] * (count - 1) + [True]
        seat.forget("b")
        assert taken[-1].runtime.buffers
        seat.forget("a")
        assert not taken[-1].runtime.buffers


def test_a_fit_that_ends_while_its_task_computes_is_forgotten_then():
    seat = Seat()
    with gpus() as taken:
        with seat.place("a", PLAN):
            seat.forget("a")
            assert taken[-1].runtime.buffers
        assert not taken[-1].runtime.buffers


# --- faults -----------------------------------------------------------------------------------------------------


def test_rows_are_waited_for_where_a_step_fails():
    class Slow(Gpu):
        waited = 0

        def settle(self, mark):
            self.waited += mark is not None

    gpu, written = Slow(), []

    class Failing:
        def write(self, lo, rows):
            written.append(lo)

        def block(self, lo, hi):
            raise OSError("the disk is full")

    with gpu.active():
        to = Returning(Failing(), gpu)
        for lo in (0, 1):
            to.write(lo, {"w": gpu.send(np.ones((1, 2)))})
        to.block(0, 2)
        with pytest.raises(OSError, match="full"):
            to.flush()
        to.write(2, {"w": gpu.send(np.ones((1, 2)))})
        to.abandon()
    assert (written, gpu.waited) == ([0, 1], 3)


def raising(x, rows, shared):
    del rows, shared
    if x.first:
        raise ZeroDivisionError("no good")
    return {"w": x.values[:, :2]}, {"sum": np.sum(x.values)}


def summed(x, rows, shared):
    del rows, shared
    return {"w": x.values[:, :2]}, {"sum": np.sum(x.values)}


CHUNKS = [(0, 100), (100, 250), (250, 260), (260, 480), (480, 700)]


@pytest.mark.parametrize("changes", WAYS.values(), ids=WAYS)
def test_what_fails_spoils_nothing(client, tmp_path, changes):
    source = Chunked(DENSE, CHUNKS)
    needs = {"width": 2, "dtype": source.dtype, "elementwise": False, "forms_product": False}
    plan = device_plan(source, device_memory=GIB, memory=GIB, workers=2, **needs)
    with gpus(**changes), ClusterExecutor(client, source, plan, passport=Passport.of_here()) as executor:
        executor.work_in(Blobs(Place(str(tmp_path)), "work"))
        for _ in range(4):  # a buffer that is lost each time would soon be missed
            with pytest.raises(ZeroDivisionError, match="no good"):
                executor.sweep(raising, None, {})
        rows, stats = executor.sweep(summed, None, {})
        np.testing.assert_array_equal(rows.read(0, 700)["w"], DENSE[:, :2])
        again = executor.sweep(summed, None, {})[1]
    assert isinstance(stats["sum"], np.ndarray | np.float64)
    assert float(stats["sum"]) == float(again["sum"])
    np.testing.assert_allclose(float(stats["sum"]), DENSE.sum(), rtol=1e-12)


class Interrupted(Future):
    """A block on its way, on the first wait for which Ctrl-C comes, once it is there."""

    told = False

    def __init__(self, real):
        super().__init__()
        self.cancel, self.exception, self._real = real.cancel, real.exception, real

    def result(self, timeout=None):
        found = self._real.result(timeout)
        if not self.told:
            type(self).told = True
            raise KeyboardInterrupt
        return found


def test_an_interrupt_while_a_block_comes_loses_no_buffer():
    source, bounds = Chunked(DENSE, []), [(i, 4 * i, 4 * i + 4) for i in range(5)]
    reader = SimpleNamespace(read=lambda index, lo, hi: source.read(lo, hi), fresh=None)
    with ThreadPoolExecutor(3) as pool:
        place = OnDevice(Gpu(), replace(PLAN, cache_bytes=0))
        hasty = SimpleNamespace(submit=lambda *given: Interrupted(pool.submit(*given)))
        with place.active():
            for _ in range(2):
                Interrupted.told = False
                with pytest.raises(KeyboardInterrupt):
                    next(place.blocks(bounds, reader, None, hasty))
                assert place._ring._free.qsize() == PLAN.slots
            found = [(lo, hi, float(np.sum(x.values))) for lo, hi, x in place.blocks(bounds, reader, None, pool)]
        place.close()
    assert found == [(lo, hi, DENSE[lo:hi].sum()) for _, lo, hi in bounds]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("brought", [True, False])
def test_rows_may_be_here_and_there(order, brought):
    gpu = Gpu()
    place = SimpleNamespace(enter=to_device, leave=to_host)
    here = ResidentRows({"w": np.zeros((3, 1)), "only": np.ones((3, 1))})
    with gpu.active():
        there = DeviceRows({"w": to_device(np.full((3, 1), 2.0))}, place)
        rows = RowsThere(Beside(*(here, there)[::order]), place)
        away = rows.away(1, 3)
        assert all(isinstance(f, np.ndarray) for f in away.values())
        assert ("w" in away) == (order < 0)
        if brought:
            rows.brought = (1, 3, to_device(away))
        found = to_host(rows.read(1, 3))
    np.testing.assert_array_equal(found["w"], [[2.0 if order > 0 else 0.0]] * 2)
    np.testing.assert_array_equal(found["only"], [[1.0]] * 2)
