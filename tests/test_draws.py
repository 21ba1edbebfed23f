"""Passes over batches of rows: their order, what is in memory for them, and the same on threads and on workers."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from itertools import pairwise

import cloudpickle
import numpy as np
import pytest
from clusters import cluster
from hypothesis import given
from hypothesis import strategies as st

from nmfkit.blocks import Dense
from nmfkit.errors import SourceError
from nmfkit.executors.blobs import Blobs
from nmfkit.executors.cluster import ClusterExecutor
from nmfkit.executors.draws import Batches, Order, Some, pieces, portions
from nmfkit.executors.local import PIECE, LocalExecutor
from nmfkit.executors.passport import Passport
from nmfkit.executors.plan import make_plan
from nmfkit.protocols import Draw, Draws, Pass
from nmfkit.sources.array import ArraySource
from nmfkit.sources.zarr_store import Place
from nmfkit.testing.chunked import Chunked, Counted

cloudpickle.register_pickle_by_value(sys.modules[__name__])

M, N, BATCH = 90, 6, 8
X = np.random.default_rng(7).random((M, N))
X[:, 0] = np.arange(M)
CHUNKS = [(0, 20), (20, 33), (33, 63), (63, 68), (68, 90)]


@dataclass
class Walking:
    """A model in small: every row is drawn once a sweep, and counts more the later it comes."""

    phased = draws = True
    reads, aside, row_factors = 2, 0, ("w",)

    def phase(self, shared):
        if shared["batch"] * BATCH >= M:
            return None
        draw = Draw(BATCH, shared["batch"], (3, shared["epoch"]))
        return Pass(self.seen, {"late": shared["late"]}, data=True, draw=draw)

    def seen(self, x, rows, shared):
        assert not rows, "a batch has no rows of factors"
        marks = np.zeros(M)
        marks[x.values[:, 0].astype(int)] = 1
        return {}, {"marks": marks, "product": shared["late"] * x.tdot(x.dot(np.eye(N))), "rows": float(x.shape[0])}

    def after(self, shared, stats):
        batch = shared["batch"] + 1
        seen = shared["seen"] + stats["marks"]
        return {
            **shared, "batch": batch, "seen": seen, "when": shared["when"] + batch * stats["marks"],
            "late": shared["late"] + stats["product"].trace() / 1e5, "sizes": (*shared["sizes"], stats["rows"]),
        }  # fmt: skip

    def local(self, x, rows, shared):
        return {"w": np.ones((x.shape[0], 1))}, {"late": shared["late"] * x.shape[0]}

    def objective(self, shared, stats):
        return float(stats["late"])

    def apply(self, shared, stats):
        return {**shared, "batch": 0, "epoch": shared["epoch"] + 1}


START = {"batch": 0, "epoch": 0, "late": 1.0, "seen": np.zeros(M), "when": np.zeros(M), "sizes": ()}


def plan_of(source, pool=0, threads=1):
    plan = make_plan(
        source, width=1, dtype=source.dtype, elementwise=False, forms_product=False, threads=threads, draws=True,
        row_copies=1, reads=2,
    )  # fmt: skip
    plan = replace(plan, layout=replace(plan.layout, pool=pool), pool_bytes=pool)
    return plan if source.resident else replace(plan, shards=(range(2), range(2, 5)))


def walked(executor, sweeps=2):
    rows, _ = executor.sweep(lambda x, rows, shared: ({"w": x.values[:, :1]}, ()), None, {})
    shared, objectives = START, []
    for _ in range(sweeps):
        new = executor.advance(Walking(), rows, shared)
        left = executor.fetch(new.current)
        assert left["batch"] == -(-M // BATCH), "rows and objective are those of the state that the batches leave"
        assert new.objective == pytest.approx(M * left["late"])
        rows, shared = new.rows, new.following
        objectives.append(new.objective)
    return executor.fetch(shared), objectives


# --- the order ----------------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 9), st.integers(1, 20), st.integers(0, 2**40)
)
def test_every_row_comes_once_and_pools_come_one_after_the_other(sizes, pool, rows, seed):
    edges = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    bounds, m = list(pairwise(edges)), edges[-1]
    batches, seen = Batches(bounds, pool), []
    for number in range(-(-m // rows)):
        parts = batches.of(Draw(rows, number, (seed,)))
        numbers = [lo + row for _, lo, hi, own in parts for row in own.tolist()]
        assert numbers == sorted(numbers)
        assert all((lo, hi) == bounds[i] for i, lo, hi, _ in parts)
        seen += numbers
    assert sorted(seen) == list(range(m))
    order = Order(bounds, pool, (seed,))
    together = [sum(sizes[i] for i in part) for part in order.pools]
    assert sorted(i for part in order.pools for i in part) == list(range(len(sizes)))
    for (lo, hi), part in zip(pairwise([0, *np.cumsum(together).tolist()]), order.pools, strict=True):
        assert set(order.rows(lo, hi).tolist()) == {row for i in part for row in range(*bounds[i])}


def test_the_batches_of_one_pool_know_nothing_of_blocks():
    some = [Batches(bounds, 0) for bounds in ([(0, M)], CHUNKS)]
    for number in range(-(-M // BATCH)):
        one, other = (
            [lo + row for _, lo, _, own in batches.of(Draw(BATCH, number, (1, 2))) for row in own.tolist()]
            for batches in some
        )
        assert one == other
    assert one != list(range(M))[-len(one) :], "they are shuffled"


def test_another_seed_is_another_order():
    batches = Batches([(0, M)], 0)
    first, again, other = (batches.of(Draw(BATCH, 0, seed))[0].rows.tolist() for seed in ((1,), (1,), (1, 0)))
    assert first == again != other


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 12))
def test_portions_are_the_rows_of_a_batch_in_their_order(counts, rows):
    some = [Some(i, 9 * i, 9 * i + 9, np.arange(count)) for i, count in enumerate(counts) if count]
    found = list(portions(some, rows))
    sizes = [sum(len(part.rows) for part in portion) for portion in found]
    assert all(size == rows for size in sizes[:-1])
    assert sum(sizes) == sum(counts)
    for part in some:
        again = [piece.rows for portion in found for piece in portion if piece[:3] == part[:3]]
        assert np.concatenate(again).tolist() == part.rows.tolist()


@pytest.mark.parametrize(("rows", "n", "count"), [(32, 50_000, 1), (200, 50_000, 3), (2048, 1024, 32), (8192, 8, 1)])
def test_pieces_of_a_batch_are_no_few_rows(rows, n, count):
    """Sums over the rows of a piece may be as large as many rows: few rows do not pay for them."""
    x = Dense(np.broadcast_to(1.0, (rows, n)))
    assert [piece.shape[0] for piece in pieces(x, PIECE)] == [
        rows * (i + 1) // count - rows * i // count for i in range(count)
    ]


# --- sweeps -------------------------------------------------------------------------------------------------


def test_it_is_asked_whether_a_model_draws():
    assert isinstance(Walking(), Draws)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("pool", [0, 2])
def test_every_row_is_drawn_once_a_sweep(threads, pool):
    source = Chunked(X, CHUNKS)
    with LocalExecutor(source, plan_of(source, pool, threads)) as executor:
        state, _ = walked(executor)
    assert (state["seen"] == 2).all()
    assert state["sizes"] == (*[BATCH] * (M // BATCH), M % BATCH) * 2
    assert len(set(state["when"].tolist())) > 3


def test_an_array_in_memory_and_blocks_of_it_have_the_same_batches():
    found = []
    for source in (ArraySource(X), Chunked(X, CHUNKS)):
        with LocalExecutor(source, plan_of(source)) as executor:
            found.append(walked(executor))
    (one, first), (other, second) = found
    np.testing.assert_array_equal(one["when"], other["when"])
    np.testing.assert_allclose(first, second, rtol=1e-12)


def test_a_pool_is_read_once_and_the_next_one_ahead():
    counted = Counted.anew()
    source = counted.source(X, CHUNKS)
    with LocalExecutor(source, replace(plan_of(source, 2), cache_bytes=0)) as executor:
        walked(executor, 1)
    # Once to make rows, once for the batches, once for `local`.
    assert counted.count() == 3 * len(CHUNKS)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_large_batch_is_taken_in_portions(monkeypatch, threads):
    """Blocks of two pools and a portion are in memory, however many rows a batch has."""
    monkeypatch.setattr("nmfkit.executors.plan.BLOCK", 7 * X[0].nbytes)
    held, rows = [], []

    class Large(Walking):
        def phase(self, shared):
            due = super().phase(shared)
            return due and due._replace(draw=due.draw._replace(rows=M)) if shared["batch"] == 0 else None

        def seen(self, x, given, shared):
            held.append(len(executor._drawing._known._kinds["blocks"]))
            rows.append(x.shape[0])
            return super().seen(x, given, shared)

    source = Chunked(X, CHUNKS)
    with LocalExecutor(source, plan_of(source, 1, threads)) as executor:
        first, _ = executor.sweep(nothing, None, {}, data=False)
        new = executor.advance(Large(), first, START)
    assert (executor.fetch(new.following)["seen"] == 1).all()
    assert max(held) <= 2
    assert max(rows) <= 7


def test_what_does_not_fit_the_memory_is_shuffled_by_pools():
    x, chunks = np.ones((4096, 1024)), [(lo, lo + 128) for lo in range(0, 4096, 128)]  # 32 blocks of a megabyte
    source = Chunked(x, chunks)
    plan = make_plan(
        source, width=2, dtype=source.dtype, elementwise=False, forms_product=False, threads=1, memory=2**24,
        draws=True, reads=2,
    )  # fmt: skip
    assert 2 <= plan.layout.pool < len(plan.bounds)
    assert plan.cache_bytes + plan.pool_bytes <= 2**24
    roomy = make_plan(
        source, width=2, dtype=source.dtype, elementwise=False, forms_product=False, threads=1, memory=2**29,
        draws=True, reads=2,
    )  # fmt: skip
    assert roomy.layout.pool == 0, "all of it fits: every row may meet every other"


def test_a_block_that_cannot_be_read_is_told_by_its_rows():
    class Torn(Chunked):
        def read(self, lo, hi):
            if lo == 33:
                raise SourceError(f"rows {lo}–{hi - 1} of {self.uri} cannot be read")
            return super().read(lo, hi)

    source = Torn(X, CHUNKS)
    with LocalExecutor(source, plan_of(source, 2)) as executor:
        rows, _ = executor.sweep(nothing, None, {}, data=False)
        with pytest.raises(SourceError, match="rows 33–62"):
            executor.advance(Walking(), rows, START)


def nothing(x, rows, shared):
    return {}, ()


def test_an_error_in_a_batch_says_which_one():
    class Failing(Walking):
        def seen(self, x, rows, shared):
            raise ZeroDivisionError("no good")

    source = ArraySource(X)
    with LocalExecutor(source, plan_of(source)) as executor, pytest.raises(ZeroDivisionError) as told:
        executor.advance(Failing(), executor.sweep(nothing, None, {})[0], START)
    assert "batch 0" in "\n".join(told.value.__notes__)


# --- workers ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client():
    with cluster(workers=2, processes=False) as there:
        yield there


@pytest.mark.parametrize("pool", [0, 2])
def test_workers_walk_as_threads_do(client, tmp_path, pool):
    source = Chunked(X, CHUNKS)
    with LocalExecutor(source, plan_of(source, pool)) as executor:
        here, objectives = walked(executor)
    plan = replace(plan_of(source, pool), workers=2)
    with ClusterExecutor(client, source, plan, passport=Passport.of_here()) as executor:
        executor.work_in(Blobs(Place(str(tmp_path)), "work"))
        there, others = walked(executor)
    np.testing.assert_array_equal(there["when"], here["when"])
    np.testing.assert_allclose(others, objectives, rtol=1e-12)
    assert there["sizes"] == here["sizes"]


def test_a_large_state_is_not_sent_with_every_batch(client, tmp_path):
    class Heavy(Walking):
        def after(self, shared, stats):
            return {**super().after(shared, stats), "heavy": shared["heavy"] + 1}

        def phase(self, shared):
            due = super().phase(shared)
            return due and due._replace(shared={"late": shared["late"], "heavy": shared["heavy"]})

        def seen(self, x, rows, shared):
            assert shared["heavy"].shape == (200_000,)
            return super().seen(x, rows, shared)

    source = Chunked(X, CHUNKS)
    with ClusterExecutor(client, source, plan_of(source), passport=Passport.of_here()) as executor:
        executor.work_in(Blobs(Place(str(tmp_path)), "work"))
        rows, _ = executor.sweep(nothing, None, {})
        new = executor.advance(Heavy(), rows, {**START, "heavy": np.zeros(200_000)})
        assert (executor.fetch(new.following)["heavy"] == -(-M // BATCH)).all()
        left = list(tmp_path.glob(f"work/{executor.run}/state/*"))
        # That before the sweep, those of two batches, the next one, and one that goes with the next task.
        assert len(left) <= 6, "the states of batches do not pile up"
