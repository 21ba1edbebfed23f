"""Passes over the rows before a sweep: what is kept of them, what is sent, and what a fault leaves."""

from __future__ import annotations

import gc
import pickle
import weakref
from dataclasses import dataclass, replace

import cloudpickle
import numpy as np
import pytest
from clusters import COUNTS, cluster, deadline, kill, trap
from hypothesis import given
from hypothesis import strategies as st
from nmfkit_plugins.beta.nmf import NMF

import nmfkit
from nmfkit.check import resolve
from nmfkit.errors import Incompatible
from nmfkit.executors.blobs import Blobs
from nmfkit.executors.cluster import ClusterExecutor
from nmfkit.executors.due import Changed, conclude_pass, first_pass
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.passes import RowsSoFar
from nmfkit.executors.passport import Passport
from nmfkit.executors.plan import make_plan, size_text
from nmfkit.executors.rows import ResidentRows
from nmfkit.executors.worker import Parcel, Partial
from nmfkit.loop import is_phased
from nmfkit.problem import Problem
from nmfkit.protocols import Pass
from nmfkit.sources.zarr_store import Place
from nmfkit.testing import Chunked
from nmfkit.testing.executor import Doubling, Phasing

PASSES = 5
X = np.arange(1.0, 41.0).reshape(8, 5)
CHUNKS = [(0, 3), (3, 4), (4, 8)]


class Climbing(Doubling):
    """Rows grow in each of five passes; `fails_in` is the pass in which the block from row 4 on cannot."""

    phased, reads, aside, fails_in = True, 1, 1, None

    def phase(self, shared):
        done = shared.get("passes", 0)
        return Pass(self.climb, {"number": done, "fails": done == self.fails_in}, data=False) if done < PASSES else None

    def after(self, shared, stats):
        return {**shared, "passes": shared.get("passes", 0) + 1, "total": stats["total"]}

    def climb(self, x, rows, shared):
        if shared["fails"] and x.first == 4:
            raise ZeroDivisionError("no good")
        w = rows["w"] + 1
        return {"w": w, f"w.{shared['number'] % 2}": w}, {"total": float(np.sum(w))}

    def local(self, x, rows, shared):
        return {"w": rows["w"]}, {"total": shared["total"] / len(CHUNKS)}

    def apply(self, shared, stats):
        return {"by": shared["by"], "h": shared["h"]}


def plan_of(source):
    plan = make_plan(source, width=2, dtype=source.dtype, elementwise=False, forms_product=False, threads=1)
    return replace(plan, shards=(range(2), range(2, 3)))


@pytest.fixture(scope="module")
def client():
    with cluster(workers=2, processes=False) as there:
        yield there


@pytest.fixture(params=["local", "cluster"])
def executor(request, tmp_path):
    source = Chunked(X, CHUNKS)
    if request.param == "local":
        with LocalExecutor(source, plan_of(source)) as here:
            yield here
        return
    client = request.getfixturevalue("client")
    with ClusterExecutor(client, source, plan_of(source), passport=Passport.of_here()) as there:
        there.work_in(Blobs(Place(str(tmp_path)), "work"))
        yield there


def ones(x, rows, shared):
    return {"w": np.ones((x.shape[0], 2))}, ()


SHARED = {"by": 1.0, "h": np.ones((2, 5))}


def test_models_say_whether_they_take_passes():
    assert is_phased(Phasing())
    assert not is_phased(Doubling())


def test_a_pass_that_fails_leaves_rows_and_state_and_says_where(executor):
    rows, _ = executor.sweep(ones, None, {})
    model = Climbing()
    first = executor.advance(model, rows, SHARED)
    model.fails_in = 3
    with pytest.raises(ZeroDivisionError) as told:
        executor.advance(model, first.rows, first.following)
    assert "rows 4–7 " in "\n".join([str(told.value), *getattr(told.value, "__notes__", ())])
    assert (first.rows.read(0, 8)["w"] == 1 + PASSES).all()
    model.fails_in = None
    again = executor.advance(model, first.rows, first.following)
    assert (again.rows.read(0, 8)["w"] == 1 + 2 * PASSES).all()
    assert again.rows.read(0, 8).keys() == {"w"}


def test_what_passes_write_in_the_run_does_not_pile_up(client, tmp_path):
    source = Chunked(X, CHUNKS)
    with ClusterExecutor(client, source, plan_of(source), passport=Passport.of_here()) as executor:
        executor.work_in(Blobs(Place(str(tmp_path)), "work"))
        rows, _ = executor.sweep(ones, None, {})
        shared, seen = SHARED, []
        for _ in range(3):
            new = executor.advance(Climbing(), rows, shared)
            rows, shared = new.rows, new.following
            del new
            gc.collect()
            left = {path.parent.name for path in tmp_path.glob(f"work/{executor.run}/rows/*/*") if path.is_file()}
            seen.append(len(left))
        assert (rows.read(0, 8)["w"] == 1 + 3 * PASSES).all()
    # Those before the sweep, those after it, and the last passes', which go with the next sweep.
    assert max(seen) <= 4, seen
    assert seen[-1] == seen[-2], seen


SUMMED = {"rank": 4, "rule": "mu", "reg_w": ["sum-to-one"], "tol": 0, "max_sweeps": 3, "pilot": "none"}


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "spot", "pattern"), [("beta:1.5", "write", r"rows/\d+/"), ("kl", "read", r"state/")])
def test_a_worker_killed_between_passes_costs_nothing_but_time(tmp_path, loss, spot, pattern):
    nmfkit.convert(COUNTS, tmp_path / "x.zarr", chunk_mb=1.0)
    with deadline(120), cluster(workers=2) as client:
        fit = {**SUMMED, "loss": loss, "scheduler": client}
        whole = nmfkit.fit(tmp_path / "x.zarr", out=tmp_path / "whole.zarr", **fit)
        before = set(client.nthreads())
        trap(client, spot, pattern, kill(), once=tmp_path / "once", skip=9 if spot == "write" else 2)
        found = nmfkit.fit(tmp_path / "x.zarr", out=tmp_path / "run.zarr", **fit)
        assert (tmp_path / "once").exists()
        assert set(client.nthreads()) != before
    assert list(found.history.objective) == list(whole.history.objective)
    assert (found.w == whole.w).all()
    assert (found.h == whole.h).all()


# --- rows ---------------------------------------------------------------------------------------------------

names = st.frozensets(st.sampled_from(["w", "w.a", "w.b", "v"]), max_size=3)


@given(st.lists(names, max_size=6))
def test_rows_are_those_of_the_last_pass_that_made_them(passes):
    expected = {"w": np.zeros((3, 1)), "v": np.ones((3, 1))}
    so_far = RowsSoFar(ResidentRows(dict(expected)))
    stores = []
    for number, made in enumerate(passes):
        store = ResidentRows({name: np.full((3, 1), 10.0 + number) for name in made})
        so_far.take(store, made)
        expected |= store.factors
        stores.append((weakref.ref(store), store.factors))
        del store
    found = so_far.rows.part(1, 3).read(1, 3)
    assert found.keys() == expected.keys()
    assert all((found[name] == expected[name][1:]).all() for name in found)
    for store, factors in stores:
        if not factors:
            assert store() is None, "a pass without rows is kept"
        elif any(expected[name] is f for name, f in factors.items()):
            assert store() is not None, "rows that are needed are let go"


def test_rows_that_no_pass_will_see_are_let_go():
    so_far = RowsSoFar(ResidentRows({"w": np.zeros((3, 1))}))
    first = ResidentRows({"w": np.ones((3, 1)), "w.a": np.ones((3, 1))})
    gone = weakref.ref(first)
    so_far.take(first, ("w", "w.a"))
    del first
    so_far.take(ResidentRows({"w": np.ones((3, 1))}), ("w",))
    assert gone() is not None
    so_far.take(ResidentRows({"w": np.ones((3, 1)), "w.a": np.ones((3, 1))}), ("w", "w.a"))
    assert gone() is None


# --- what is sent -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Opened:
    """A place of a state, which counts how often it is asked."""

    state: dict
    asked: list

    def open(self):
        self.asked.append(1)
        return self.state


def test_a_state_is_sent_as_what_has_changed():
    large, asked = np.ones((100, 1000)), []
    base = Opened({"h": large, "by": 1.0}, asked)
    changed = Changed.of({"h": large, "by": 2.0, "more": 3}, base, base.state)
    assert changed.open() == {"h": large, "by": 2.0, "more": 3}
    assert changed.open()["h"] is large
    assert len(asked) == 2
    assert len(pickle.dumps(changed.changes)) < 100
    alone = Changed.of({"by": 2.0}, base, base.state)
    assert alone.open() == {"by": 2.0}
    assert len(asked) == 2, "a state is fetched of which nothing is needed"


def test_workers_tell_a_pass_in_few_bytes(monkeypatch):
    large = np.ones((100, 1000))
    monkeypatch.setattr(Parcel, "open", lambda self: cloudpickle.loads(self.data) if self.data else large_state)
    large_state = {"by": 1.0, "h": large}
    model, base = Parcel("run", "model", cloudpickle.dumps(Climbing())), Parcel("run", "state", None)
    told = first_pass(model, base)
    for _ in range(PASSES):
        assert told.due is not None
        assert len(cloudpickle.dumps(told)) < 20_000, size_text(len(cloudpickle.dumps(told)))
        assert told.state.over(large_state)["h"] is large
        told = conclude_pass(model, told.state, None, Partial({"total": 1.0}, ("w",), ()))
    assert told.due is None
    assert told.state.open().keys() == {"by", "h", "passes", "total"}


class Both(NMF):
    """A model that asks for groups and for passes."""

    groups, phased = 2, True

    def misfits(self):
        return []


def test_a_sweep_goes_by_groups_or_takes_passes():
    with pytest.raises(Incompatible, match="one or the other"):
        resolve(Problem(model=Both, loss="kl", rule="mu", ranks=(2,)))
