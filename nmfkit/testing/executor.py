"""The laws of an executor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st

from nmfkit.blocks import Array, Block
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.plan import Plan, make_plan
from nmfkit.protocols import Executor, Pass, Rows, Shared, Source, Stats
from nmfkit.stats import Least
from nmfkit.testing import strategies as some
from nmfkit.testing.chunked import Chunked, Counted, Unreadable
from nmfkit.testing.compare import assert_close
from nmfkit.testing.law import Contract, law


def product(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """A step of every kind of statistic: rows x v, xᵀ x v, a sum, a number of rows."""
    del rows
    w = x.dot(shared["v"])
    return {"w": w}, {"xtxv": x.T.dot(w), "pair": (float(np.sum(x.values)), float(x.shape[0]))}


def doubled(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """Twice the rows; the data are not asked for."""
    del shared
    return {"w": 2 * rows["w"]}, {"first": float(x.first), "rows": float(x.shape[0])}


def failing(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """New rows until the block that holds row `shared["at"]`, and there an error."""
    if x.first <= shared["at"] < x.first + x.shape[0]:
        raise ZeroDivisionError("no good")
    return {"w": 0 * rows["w"]}, ()


def narrow(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """A float32 statistic that float32 could not sum: 2²⁴ in the first block, 1 in each later one."""
    del rows, shared
    return {}, {"sum": np.full(3, 1 if x.first else 2**24, dtype=np.float32)}


class Doubling:
    """A model in small: rows grow by the shared number, which doubles each sweep."""

    def local(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """Rows times the shared number."""
        return {"w": shared["by"] * rows["w"]}, {"total": float(np.sum(x.values))}

    def apply(self, shared: Shared, stats: Stats) -> Shared:
        """Twice the number."""
        del stats
        return {"by": 2 * shared["by"], "h": np.ones((2, 3))}

    def objective(self, shared: Shared, stats: Stats) -> float:
        """The sum of X and the number."""
        return float(stats["total"]) + float(shared["by"])


class Tallying(Doubling):
    """The same by groups: the number grows by a thousandth of the sum that all groups have left."""

    groups = 3

    def part(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """Rows times the shared number, and that number for every entry."""
        return {"w": shared["by"] * rows["w"]}, {"total": shared["by"] * float(np.sum(x.values))}

    def kept(self, shared: Shared, stats: Stats, before: Stats | None) -> Stats:
        """What the group has passed, and how often."""
        del shared
        return {"total": (stats["total"], stats["total"]), "turns": 1.0 if before is None else before["turns"] + 1}

    def bound(self, shared: Shared, total: Stats) -> float:
        """What all groups left, their turns, and the number."""
        return float(total["total"][0] + total["turns"] + shared["by"])

    def fading(self, shared: Shared) -> float:
        """Half, but after a sweep was undone."""
        return 1.0 if "undone" in shared else 0.5

    def renew(self, shared: Shared, total: Stats, faded: Stats, *, ends: bool) -> Shared:
        """A little more."""
        more = {"by": shared["by"] + float(faded["total"][0]) / 1000, "ends": shared.get("ends", 0) + int(ends)}
        return {**shared, **more, "turns": total["turns"]}

    def overshot(self, shared: Shared, objective: float) -> bool:
        """The third sweep is one too many, the first time."""
        del objective
        return shared.get("ends") == 2 and "undone" not in shared

    def regrouped(self, shared: Shared) -> Shared:
        """Nothing refers to groups."""
        return shared

    def retrace(self, shared: Shared) -> Shared:
        """As it was, without fading."""
        return {**shared, "undone": True}

    def closing(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """As a sweep that has no groups."""
        return self.local(x, rows, shared)


class Phasing(Doubling):
    """A model of three passes: rows from the data, other rows from those, and a sum of both; `local` uses it all.

    Each pass is told its number alone, so that one in the wrong place is found out. The third sweep is refused, once.
    """

    phased, reads, aside = True, 2, 1

    def phase(self, shared: Shared) -> Pass | None:
        """The pass after the one that was last."""
        done = shared.get("passes", 0)
        steps = (self.from_data, self.from_rows, self.summed)
        return Pass(steps[done], {"by": shared["by"], "number": done}, data=done == 0) if done < 3 else None

    def after(self, shared: Shared, stats: Stats) -> Shared:
        """The number of passes, and what the last one has summed up."""
        assert stats["number"].value == shared.get("passes", 0), f"pass {stats['number'].value} came out of its turn"
        return {**shared, "passes": shared.get("passes", 0) + 1, "sum": float(stats["sum"])}

    def from_data(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """A factor beside the rows."""
        extra = shared["by"] * x.dot(np.ones_like(x.values, shape=(x.shape[1], 1)))
        return {"w.extra": extra}, self._stats(extra + 0 * rows["w"], shared)

    def from_rows(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """Rows in place of those before."""
        assert x.shape[1] == 0, "there are data, and none were asked for"
        return {"w": rows["w"] + rows["w.extra"]}, self._stats(rows["w"], shared)

    def summed(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """No rows."""
        del x
        return {}, self._stats(rows["w"] * rows["w.extra"], shared)

    def _stats(self, f: Array, shared: Shared) -> Stats:
        return {"sum": float(np.sum(f)), "number": Least(shared["number"])}

    def local(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """The rows and the sum over all of them."""
        assert shared["passes"] == 3, f"only {shared['passes']} of 3 passes were taken"
        return {"w": rows["w"] + 1e-3 * shared["sum"]}, {"total": float(np.sum(x.values)) + float(np.sum(rows["w"]))}

    def apply(self, shared: Shared, stats: Stats) -> Shared:
        """A larger number; nothing of the passes stays."""
        del stats
        return {"by": shared["by"] + 1, "sweeps": shared["sweeps"] + 1, "h": np.ones((2, 3)), "sums": shared["sum"]}

    def refused(self, shared: Shared, objective: float) -> Shared | None:
        """A smaller number instead of the third sweep."""
        assert "passes" not in shared, "a refused sweep goes on from what its passes have left"
        again = shared["sweeps"] == 2 and "undone" not in shared
        return {**shared, "by": 0.5, "undone": objective} if again else None


def numbered(item: int) -> tuple[int, int]:
    """The item and its square."""
    return item, item * item


Layout: TypeAlias = tuple[Array, list[tuple[int, int]], tuple[range, ...], int]


@st.composite
def layouts(draw: Any) -> Layout:
    """A matrix, its chunks, the shards of those, and threads."""
    x = draw(some.matrices(scales=(1.0,)))
    chunks = draw(some.chunkings(len(x)))
    return x, chunks, draw(some.shardings(len(chunks))), draw(st.sampled_from((1, 2)))


class ExecutorContract(Contract):
    """What every executor must hold."""

    def make(self, source: Source | None = None, plan: Plan | None = None) -> Executor:
        """The executor of a source by a plan."""
        assert source is not None
        assert plan is not None
        return LocalExecutor(source, plan)

    @contextmanager
    def running(
        self,
        layout: Layout,
        source: Callable[[Array, list[tuple[int, int]]], Source] = Chunked,
        groups: int = 1,
        cached: bool = True,
    ) -> Iterator[Executor]:
        """The executor on a matrix laid out as told."""
        x, chunks, shards, threads = layout
        opened = source(x, chunks)
        plan = make_plan(opened, width=2, dtype=x.dtype, elementwise=False, forms_product=False, threads=threads)
        plan = replace(plan, shards=shards, layout=replace(plan.layout, groups=groups))
        executor = self.make(opened, plan if cached else replace(plan, cache_bytes=0))
        try:
            yield executor
        finally:
            executor.close()

    @law(layouts(), st.booleans())
    def test_a_sweep_is_the_whole_matrix(self, layout: Any, is_sparse: bool) -> None:
        x, v = layout[0], np.ones((layout[0].shape[1], 2))

        def source(x: Array, chunks: Any) -> Chunked:
            return Chunked(x, chunks, is_sparse=is_sparse)

        with self.running(layout, source=source) as executor:
            rows, stats = executor.sweep(product, None, {"v": v})
            assert_close(rows.read(0, len(x))["w"], x @ v, "rows")
        expected = {"xtxv": x.T @ (x @ v), "pair": (float(np.sum(x)), float(len(x)))}
        assert_close(stats, expected, "statistics")

    @law(layouts())
    def test_a_sweep_repeats_exactly(self, layout: Any) -> None:
        x, v = layout[0], np.ones((layout[0].shape[1], 2))
        with self.running(layout) as executor:
            one, other = (executor.sweep(product, None, {"v": v}) for _ in range(2))
            assert_close(one[1], other[1], "statistics of two sweeps", rtol=0)
            assert_close(one[0].read(0, len(x)), other[0].read(0, len(x)), "rows of two sweeps", rtol=0)

    @law(layouts())
    def test_a_sweep_leaves_the_old_rows_intact(self, layout: Any) -> None:
        x, v = layout[0], np.ones((layout[0].shape[1], 2))
        with self.running(layout) as executor:
            old, _ = executor.sweep(product, None, {"v": v})
            new, _ = executor.sweep(doubled, old, {})
            assert_close(old.read(0, len(x))["w"], x @ v, "the old rows")
            assert_close(new.read(0, len(x))["w"], 2 * (x @ v), "the new rows")

    @law(layouts(), st.data())
    def test_a_failing_step_names_its_rows_and_spoils_none(self, layout: Any, more: Any) -> None:
        x, chunks, *_ = layout
        v = np.ones((x.shape[1], 2))
        lo, hi = more.draw(st.sampled_from(chunks), label="failing block")
        with self.running(layout) as executor:
            old, _ = executor.sweep(product, None, {"v": v})
            try:
                executor.sweep(failing, old, {"at": lo})
            except ZeroDivisionError as error:
                told = "\n".join([str(error), *getattr(error, "__notes__", ())])
                assert f"rows {lo}–{hi - 1} " in told, f"rows {lo}–{hi - 1} are not named: {told}"
            else:
                raise AssertionError("the step's error was swallowed")
            assert_close(old.read(0, len(x))["w"], x @ v, "the old rows")
            _, stats = executor.sweep(product, old, {"v": v})
            assert_close(stats["pair"][1], float(len(x)), "rows of a sweep after the failure")

    @law(layouts())
    def test_no_data_are_read_where_none_are_asked_for(self, layout: Any) -> None:
        x, chunks, *_ = layout
        with self.running(layout) as readable:
            old, _ = readable.sweep(product, None, {"v": np.ones((x.shape[1], 2))})
            with self.running(layout, source=Unreadable) as executor:
                new, stats = executor.sweep(doubled, old, {}, data=False)
                assert_close(new.read(0, len(x))["w"], 2 * np.sum(x, axis=1, keepdims=True) * np.ones((1, 2)), "rows")
        assert stats["rows"] == len(x), "not every row was passed"
        assert stats["first"] == sum(lo for lo, _ in chunks), "blocks do not know where they start"

    @law(layouts())
    def test_advancing_is_a_sweep_and_what_follows_from_it(self, layout: Any) -> None:
        x, v = layout[0], np.ones((layout[0].shape[1], 2))
        model: Any = Doubling()
        with self.running(layout) as executor:
            rows, _ = executor.sweep(product, None, {"v": v})
            shared: Any = {"by": 3.0}
            for sweep in range(3):
                new = executor.advance(model, rows, shared)
                rows, shared = new.rows, new.following
                assert_close(new.objective, float(np.sum(x)) + 3 * 2**sweep, "the objective")
            state = executor.fetch(shared)
            assert state["by"] == 24, f"the state that follows is {state}"
            assert_close(state["h"], np.ones((2, 3)), "an array of the state that follows")
            assert_close(rows.read(0, len(x))["w"], 3 * 6 * 12 * (x @ v), "the rows")
            one, other = rows.read(0, 1)["w"], rows.part(0, len(x)).read(0, 1)["w"]
            assert_close(one, other, "a part of the rows")

    @law(layouts(), examples=0.5)
    def test_passes_come_before_a_sweep(self, layout: Any) -> None:
        x, chunks, *_ = layout
        v = np.ones((x.shape[1], 2))
        w, by, read = x @ v, 3.0, Counted.anew()
        model: Any = Phasing()
        with self.running(layout, source=read.source, cached=False) as executor:
            rows, _ = executor.sweep(product, None, {"v": v})
            shared: Any = {"by": by, "sweeps": 0}
            for sweep in range(4):
                before = read.count()
                new = executor.advance(model, rows, shared)
                assert read.count() - before == 2 * len(chunks), "X is not read as often as passes ask for it"
                extra = by * np.sum(x, axis=1, keepdims=True)
                there = w + extra
                assert_close(new.objective, float(np.sum(x) + np.sum(there)) + by, f"the objective of sweep {sweep}")
                assert new.accepted == (sweep != 2), f"sweep {sweep} counts: {new.accepted}"
                assert_close(rows.read(0, len(x))["w"], w, "the rows before")
                if sweep == 2:
                    shared, by = new.following, 0.5
                    continue
                total = float(np.sum(there * extra))
                w, by = there + 1e-3 * total, by + 1
                rows, shared = new.rows, new.following
                assert rows.read(0, len(x)).keys() == {"w"}, "rows of the passes are left"
                assert_close(rows.read(0, len(x))["w"], w, f"the rows of sweep {sweep}")
            state = executor.fetch(shared)
            assert state.keys() == {"by", "sweeps", "h", "sums"}, f"the state that follows holds {sorted(state)}"
            assert_close(state["sums"], total, "what the last pass has summed up")
            plain, held = (executor.advance(model, rows, there).objective for there in (state, shared))
            assert_close(plain, held, "the objective from a plain state and from a held one", rtol=0)

    @law(layouts(), st.integers(1, 4))
    def test_groups_take_their_turns(self, layout: Any, groups: int) -> None:
        x, chunks, shards, _ = layout
        model: Any = Tallying()
        groups = min(groups, len(shards))
        with self.running(layout, groups=groups) as executor:
            rows, _ = executor.sweep(product, None, {"v": np.ones((x.shape[1], 1))})
            expected, left, by = rows.read(0, len(x))["w"], np.zeros(groups), 3.0
            shared: Any = {"by": by}
            for sweep in range(4):
                new = executor.advance(model, rows, shared)
                assert new.accepted == (sweep != 2), f"sweep {sweep} counts: {new.accepted}"
                if sweep == 1:  # a plain state goes on as a held one does
                    new = new._replace(following=executor.fetch(new.following))
                if sweep == 2:
                    by += float(np.sum(left)) / 1000
                    rows, shared = new.rows, new.following
                    continue
                for group in range(groups):
                    current = by
                    of_group = [chunks[i] for shard in shards[group::groups] for i in shard]
                    for lo, hi in of_group:
                        expected[lo:hi] *= by
                    left[group] = by * sum(float(np.sum(x[lo:hi])) for lo, hi in of_group)
                    fading = 1.0 if sweep > 2 else 0.5
                    by += sum(fading ** ((group - g) % groups) * left[g] for g in range(groups)) / 1000
                rows, shared = new.rows, new.following
                assert_close(rows.read(0, len(x))["w"], expected, f"rows after sweep {sweep}")
                turns = min(sweep + 1, 3) * groups
                assert_close(new.objective, np.sum(left) + turns + current, "the bound")
                assert_close(executor.fetch(new.current)["by"], current, "the number of the last turn")
            state = executor.fetch(shared)
            assert_close(state["by"], by, "the number that follows")
            assert state["ends"] == 3, f"{state['ends']} of 3 sweeps have ended"
            assert len(state["kept"]) == groups, "what a group has left is lost"
            assert state["grouping"] == executor.plan.grouping, "a plain state does not say whose it is"
            after = executor.sweep(model.closing, rows, shared)[0]
            assert_close(after.read(0, len(x))["w"], by * expected, "rows of a sweep with what follows")

    @law(layouts(), st.integers(0, 9))
    def test_independent_calls_come_back_in_order(self, layout: Any, count: int) -> None:
        with self.running(layout) as executor:
            found = executor.each(numbered, range(count))
        assert list(found) == [(i, i * i) for i in range(count)], f"results are {found}"

    @law(layouts())
    def test_statistics_are_summed_in_float64(self, layout: Any) -> None:
        _, chunks, *_ = layout
        with self.running(layout) as executor:
            _, stats = executor.sweep(narrow, None, {})
        assert stats["sum"].dtype == np.float64, f"summed in {stats['sum'].dtype}"
        assert (stats["sum"] == 2**24 + len(chunks) - 1).all(), f"{stats['sum'][0]} from {len(chunks)} blocks"
