"""The pieces that executors are made of: caches, placement, blobs, rows in blobs, options of the machine."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmfkit.blocks import Dense
from nmfkit.errors import StoreError, UsageError
from nmfkit.executors.blobs import Blobs
from nmfkit.executors.block_rows import BlockRows, BlockWriter
from nmfkit.executors.cache import BlockCache
from nmfkit.executors.machine import Machine
from nmfkit.executors.passport import Passport
from nmfkit.executors.placement import Placement
from nmfkit.executors.plan import FLAT, make_plan, worker_budget
from nmfkit.executors.shard import combine
from nmfkit.sources.array import ArraySource
from nmfkit.sources.zarr_store import Place

# --- the cache ----------------------------------------------------------------------------------------------


def block(size: int) -> Dense:
    return Dense(np.zeros((1, size // 8)), 0)


@given(
    budget=st.integers(0, 4000),
    offers=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.integers(1, 90)), max_size=60),
)
def test_a_cache_never_holds_more_than_its_budget_nor_an_owner_more_than_its_own(budget, offers):
    cache, most = BlockCache(budget), 1600
    for sweep, (owner, index, size) in enumerate(offers):
        cache.offer(owner, index, block(8 * size), sweep, most)
        held = {key: b.nbytes for key, (b, _) in cache._blocks.items()}
        assert cache.used == sum(held.values()) <= budget
        for name in "ab":
            assert sum(size for (who, _), size in held.items() if who == name) <= most
    cache.drop("a")
    assert all(key[0] == "b" for key in cache._blocks)
    cache.drop()
    assert cache.used == 0


def test_blocks_that_a_fit_has_passed_over_make_room_for_those_it_uses():
    cache = BlockCache(1000)
    cache.offer("fit", 0, block(800), sweep=1)
    cache.offer("fit", 1, block(800), sweep=2)
    assert cache.get("fit", 1, 2) is None, "a block of the sweep before was thrown out"
    cache.offer("fit", 1, block(800), sweep=3)
    assert cache.get("fit", 1, 3) is not None
    assert cache.get("fit", 0, 3) is None


def test_blocks_of_a_fit_that_has_gone_are_forgotten_and_others_kept(monkeypatch):
    cache, now = BlockCache(1000), [0.0]
    monkeypatch.setattr("nmfkit.executors.cache.time.monotonic", lambda: now[0])
    cache.offer("gone", 0, block(80))
    cache.offer("here", 0, block(80))
    now[0] = 500.0
    cache.get("here", 0)
    now[0] = 700.0
    cache.drop_idle(600)
    assert cache.get("gone", 0) is None
    assert cache.get("here", 0) is not None


# --- placement ----------------------------------------------------------------------------------------------

workers = st.dictionaries(st.sampled_from([f"tcp://w{i}" for i in range(6)]), st.integers(1, 4), min_size=1)


@given(sizes=st.lists(st.integers(1, 100), min_size=1, max_size=40), sets=st.lists(workers, min_size=1, max_size=5))
def test_every_shard_has_a_live_worker_and_no_worker_much_more_than_its_part(sizes, sets):
    placement = Placement(sizes)
    for threads in sets:
        owners = placement.on(threads)
        assert len(owners) == len(sizes)
        assert set(owners) <= set(threads)
        for address, count in threads.items():
            load = sum(size for size, owner in zip(sizes, owners, strict=True) if owner == address)
            due = sum(sizes) * count / sum(threads.values())
            assert load <= due + max(sizes), f"{address} has {load} of {sum(sizes)}, due are {due}"


@given(sizes=st.lists(st.integers(1, 100), min_size=4, max_size=40), threads=workers)
def test_shards_stay_where_they_were_when_a_worker_is_replaced(sizes, threads):
    placement = Placement(sizes)
    before = placement.on(threads)
    assert placement.on(threads) == before
    lost = sorted(threads)[0]
    renamed = {("tcp://new" if address == lost else address): count for address, count in threads.items()}
    after = placement.on(renamed)
    moved = [a for a, b in zip(before, after, strict=True) if a != b and a != lost]
    assert not moved, "shards of workers that stayed were moved"


# --- blobs and rows in them ---------------------------------------------------------------------------------


@pytest.fixture
def blobs(tmp_path):
    return Blobs(Place(str(tmp_path)), "work").make()


def test_blobs_give_back_what_was_put_and_say_what_is_missing_or_damaged(tmp_path, blobs):
    state = {"h": np.arange(6.0).reshape(2, 3), "floor": 1e-3, "none": None}
    blobs.put_state("state/1", state)
    again = pickle.loads(pickle.dumps(blobs)).get_state("state/1")
    assert np.array_equal(again["h"], state["h"])
    assert again["floor"] == state["floor"]
    blobs.put_rows("rows/1/0", {"w": np.ones((3, 2), np.float32)})
    assert blobs.get_rows("rows/1/0")["w"].dtype == np.float32
    assert blobs.folders() == ["rows", "state"]
    for name, read in (("state/1", blobs.get_state), ("rows/1/0", blobs.get_rows)):
        path = tmp_path / "work" / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        with pytest.raises(StoreError, match=f"{name} is damaged"):
            read(name)
        path.unlink()
        with pytest.raises(StoreError, match=f"{name} is missing"):
            read(name)
    blobs.delete("rows/1/0")  # gone already
    blobs.clear()
    assert blobs.folders() == []
    assert not (tmp_path / "work").exists()
    with pytest.raises(StoreError, match="cannot be written"):
        blobs.put_state("state/2", state)
    assert not (tmp_path / "work").exists(), "what was removed has come back"


@given(cuts=st.sets(st.integers(1, 29), max_size=6), data=st.data())
def test_rows_in_blobs_are_read_by_any_range(tmp_path_factory, cuts, data):
    blobs = Blobs(Place(str(tmp_path_factory.mktemp("blobs"))), "work").make()
    edges = np.array([0, *sorted(cuts), 30])
    whole = {"w": np.arange(60.0).reshape(30, 2), "v": np.arange(30.0)[:, None]}
    writer = BlockWriter(blobs, "7")
    for lo, hi in pairwise(edges):
        middle = (lo + hi) // 2
        for a, b in ((lo, middle), (middle, hi)):
            writer.write(int(a), {name: f[a:b] for name, f in whole.items()})
        writer.block(int(lo), int(hi))
    assert writer.names == ("v", "w")
    rows = BlockRows(blobs, "7", edges)
    lo = data.draw(st.integers(0, 29))
    hi = data.draw(st.integers(lo + 1, 30))
    for store in (rows, rows.part(lo, hi), pickle.loads(pickle.dumps(rows.part(lo, hi)))):
        for name, f in store.read(lo, hi).items():
            assert np.array_equal(f, whole[name][lo:hi])


# --- plans for workers --------------------------------------------------------------------------------------


def plan_for(count, **options):
    source = ArraySource(np.zeros((20_000, 100), np.float32))
    given = {"width": 5, "dtype": np.float32, "elementwise": False, "forms_product": False, "threads": 2}
    return make_plan(source, **{**given, "memory": worker_budget(2**30), **options}, workers=count)


@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_shards_of_workers_cover_all_blocks_and_are_even(count):
    plan = plan_for(count)
    assert [i for shard in plan.shards for i in shard] == list(range(len(plan.bounds)))
    assert max(map(len, plan.shards)) - min(map(len, plan.shards)) <= 1
    assert not plan.resident
    assert not plan.rows_resident
    assert plan.layout.fan_in == 0 or len(plan.shards) > FLAT or len(plan.bounds) < count


def test_a_worker_without_enough_memory_is_refused_with_what_it_needs():
    with pytest.raises(UsageError, match=r"memory of a worker is too small.* give each \d+ MiB or more"):
        plan_for(2, memory=worker_budget(2**18))


def test_sums_of_many_shards_go_through_a_tree():
    source = ArraySource(np.zeros((400_000, 100), np.float32))
    plan = make_plan(
        source, width=5, dtype=np.float32, elementwise=False, forms_product=False, threads=2, memory=2**30, workers=32
    )
    assert len(plan.shards) > FLAT
    assert plan.layout.fan_in >= 4, "shards of one worker are not added up together"


@given(count=st.integers(1, 40), fan_in=st.integers(0, 6))
def test_sums_are_added_here_in_the_order_that_workers_add_them(count, fan_in):
    class Noted:
        def __init__(self, text):
            self.text = text

        def __add__(self, other):
            return Noted(f"({self.text}+{other.text})")

    def grouped(texts):
        total = texts[0]
        for text in texts[1:]:
            total = f"({total}+{text})"
        return total

    level = [str(i) for i in range(count)]
    while fan_in > 1 and len(level) > fan_in:
        level = [grouped(level[i : i + fan_in]) for i in range(0, len(level), fan_in)]
    fan_in = 0 if fan_in == 1 else fan_in
    found = combine((Noted(str(i)) for i in range(count)), count, fan_in)
    assert found.text == grouped(level)


# --- what callers say ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"workers": -1}, "workers -1 is not a whole number ≥ 0"),
        ({"threads": True}, "threads True"),
        ({"workers": 2, "scheduler": "tcp://a:1"}, "name different places"),
        ({"workers": 2, "threads": 2}, "threads are those of this process"),
        ({"threads_per_worker": 2}, "goes with workers"),
        ({"workers": 0, "threads_per_worker": 2}, "goes with workers"),
        ({"performance_report": "a.html"}, "add workers or a scheduler"),
        ({"memory": "much"}, "memory 'much' is not a size"),
    ],
)
def test_options_that_make_no_sense_are_refused(monkeypatch, options, told):
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    with pytest.raises(UsageError, match=told):
        Machine.of(options)


def test_all_that_is_wrong_with_the_options_is_told_at_once():
    with pytest.raises(UsageError, match=r"threads 0 .* workers 1\.5 .* memory"):
        Machine.of({"threads": 0, "workers": 1.5, "memory": "x"})
    with pytest.raises(TypeError, match="'wrkers'"):
        Machine.of({"wrkers": 2})


def test_the_environment_names_the_scheduler_unless_the_caller_names_a_place_or_threads(monkeypatch):
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://somewhere:8786")
    assert Machine().address == "tcp://somewhere:8786"
    assert not Machine().is_here
    assert Machine(threads=2).is_here
    assert Machine(workers=0).is_here
    assert not Machine(workers=2).is_here
    assert Machine(scheduler="tcp://other:1").address == "tcp://other:1"
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS")
    assert Machine().is_here


def test_a_passport_tells_what_is_missing_and_what_differs():
    here = Passport.of_here(["nmfkit"])
    assert here.faults() == []
    names = dict(here.versions)
    assert {"nmfkit", "numpy", "python", "distributed"} <= set(names)
    other = Passport((("numpy", "1.0"), ("nmfkit-absent", "2.0")))
    told = "; ".join(other.faults())
    assert f"numpy is {names['numpy']} there and 1.0 here" in told
    assert "nmfkit-absent 2.0 is not installed" in told
