"""Sweeps on the workers of a dask cluster: a task a shard, which streams its blocks and sends one sum.

Nothing that a task needs is in another worker's memory only: X is read from its store, rows of W and the shared state
are blobs beside the run, written once under the number of their sweep. So every task can be run again, anywhere, and
gives the same bytes; a worker that is lost costs its share of one sweep, and the client holds no factor at all.
"""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from distributed import Client, Future

from nmfkit.errors import StoreError
from nmfkit.executors.blobs import Blobs
from nmfkit.executors.block_rows import BlockRows, blob_name
from nmfkit.executors.calls import RETRIES, each_on
from nmfkit.executors.drawn import run_drawn
from nmfkit.executors.draws import Batches, Some
from nmfkit.executors.due import Changed, Passed, conclude_pass, first_pass
from nmfkit.executors.passes import RowsSoFar
from nmfkit.executors.passport import Passport
from nmfkit.executors.placement import Placement
from nmfkit.executors.plan import Plan
from nmfkit.executors.post import Held, HeldApart, Post
from nmfkit.executors.progress import Progress
from nmfkit.executors.rows import ResidentRows
from nmfkit.executors.turns import Turn, conclude_turn
from nmfkit.executors.waiting import Stranded, cancel, live_workers, settled
from nmfkit.executors.worker import (
    PLUGIN,
    Errand,
    Outcome,
    Parcel,
    Partial,
    Shelf,
    StateName,
    conclude,
    merge,
    run_shard,
)
from nmfkit.loop import Watcher, aged, is_drawing, is_parted, is_phased, unparted
from nmfkit.protocols import Advance, Draw, Model, Parted, RowStore, Shared, Source, Stats, Step


class ClusterExecutor:
    """Runs the shards of a sweep as tasks on the workers of `client`, and sums their statistics in shard order.

    `blobs` is where rows and shared states go, readable and writable from every worker (None: until `work_in` names
    one, only sweeps that make no rows). Tasks prefer the worker that had their shard before; which workers there are is
    asked before every sweep. Raises `ClusterError` when scheduler or workers are lost for good.
    """

    def __init__(
        self,
        client: Client,
        source: Source,
        plan: Plan,
        *,
        passport: Passport,
        blobs: Blobs | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self.client, self.source, self.plan, self.passport = client, source, plan, passport
        self.run = uuid.uuid4().hex[:12]
        self.sweeps = 0
        self.reports: tuple[Any, ...] = ()
        self._post = Post(self.run, None if blobs is None else blobs.below(self.run).make())
        self._edges = np.array([lo for lo, _ in plan.bounds] + [source.shape[0]], dtype=np.int64)
        self._placement = Placement([len(shard) for shard in plan.shards])
        self._batches = Batches(plan.bounds, plan.layout.pool)
        self._heads: list[int] = []  # for each shard, the first one that goes into the same sums of a batch
        self._source = self._post.parcel(source)
        self._stale: list[str] = []
        self._workers: dict[str, int] = {}
        self._between: list[Held] = []
        client.register_plugin(Shelf(), name=PLUGIN)
        self._watcher = watcher or Watcher()
        self._progress = Progress(client, self.run, self._watcher)

    def on(self, source: Source, plan: Plan) -> ClusterExecutor:
        """The same workers at another source, with a plan of its own."""
        return ClusterExecutor(self.client, source, plan, passport=self.passport, blobs=self._post.blobs)

    def work_in(self, blobs: Blobs) -> str:
        """Keep rows and states of later sweeps in a folder of `blobs`, whose name is returned."""
        self._post.move(blobs.below(self.run).make())
        return self.run

    def close(self) -> None:
        """Let the workers forget this fit; what a checkpoint does not need of the blobs is removed."""
        # A store or a cluster that is gone has nothing to be tidied, and its loss has been told.
        with suppress(StoreError, OSError, ValueError):
            self._progress.close()
            for below in ("state", "parcel"):
                if self._post.blobs is not None:
                    self._post.blobs.clear(below)
        with suppress(OSError, ValueError):
            if self.client.status == "running":
                self.client.run(_forget, self.run, wait=False, on_error="ignore")

    def __enter__(self) -> ClusterExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- sweeps ---------------------------------------------------------------------------------------------

    def sweep(
        self, step: Step, rows: RowStore | None, shared: Any, *, data: bool = True, tiles: bool = True
    ) -> tuple[RowStore, Stats]:
        """Run `step` on every tile and sum its statistics in shard order.

        Without `data`, X is not read; without `tiles`, `step` gets whole blocks.
        """
        errand = self._errand(self._post.parcel(step), self._post.sent(shared), data, tiles)
        total: Partial = self._swept(errand, rows, lambda sums: self._task(merge, *sums, of=errand))
        self.reports = total.reports
        return self._rows(errand, total.names), total.stats

    def advance(self, model: Model, rows: RowStore, shared: Any) -> Advance:
        """A sweep of `model.local`: the new rows, their objective with `shared`, the following state, held.

        A `Parted` model sweeps over the plan's groups of shards in turn, and its state is renewed after each. The
        passes of a `Phased` one come before.
        """
        if is_parted(model):
            return self._advance_by_groups(model, rows, shared)
        parcel, before = self._post.parcel(model), self._post.sent(shared)
        there, state, reports = self._passed(parcel, rows, before) if is_phased(model) else (rows, before, ())
        errand = self._errand(self._post.parcel(model.local), state, data=True, tiles=True)
        following, current = self._post.state_name(), self._post.held() if is_drawing(model) else None
        kept = current.name if current is not None else None
        outcome: Outcome = self._swept(
            errand, there, lambda sums: self._task(conclude, errand, parcel, before, kept, following, *sums, of=errand)
        )
        self.reports = (*reports, *outcome.reports)
        following_state = Held(following, self._post.drop)
        return Advance(self._rows(errand, outcome.names), outcome.objective, following_state, outcome.accepted, current)

    def _passed(
        self, model: Parcel, rows: RowStore, before: Parcel | StateName
    ) -> tuple[RowStore, Changed, tuple[Any, ...]]:
        """Rows and state after the passes that come before `local`, and how the shards of those went."""
        so_far, reports = RowsSoFar(self._within_reach(rows) or rows), tuple[Any, ...]()
        there: Passed = self._alone(first_pass, model, before)
        self._between = []
        while there.due is not None:
            errand = self._errand(self._post.packed(there.due.step), there.due.shared, data=there.due.data, tiles=True)
            # With the state before this pass, which its tasks may be run again from.
            self._between = [*self._between[-1:], self._post.held()]
            there = self._pass(errand, model, there.state, so_far.rows, there.due.draw)
            so_far.take(self._rows(errand, there.names), there.names)
            reports += there.reports
        return so_far.rows, there.state, reports

    def _pass(self, errand: Errand, model: Parcel, state: Changed, rows: RowStore, draw: Draw | None) -> Passed:
        place = self._between[-1].name

        def end(sums: list[Future[Any]]) -> Future[Any]:
            return self._task(conclude_pass, model, state, place, *sums, of=errand)

        passed: Passed = (
            self._swept(errand, rows, end) if draw is None else self._ended(lambda: self._batch(errand, draw), end)
        )
        return passed

    def _batch(self, errand: Errand, draw: Draw) -> list[Future[Any]]:
        """The tasks of a batch: one for each worker that had rows of it at first, so that sums stay those sums."""
        plan, owners = self.plan, self._placement.on(self._present())
        self._heads = self._heads or [owners.index(owner) for owner in owners]
        there = {i: self._heads[shard] for shard, blocks in enumerate(plan.shards) for i in blocks}
        parts: dict[int, list[Some]] = {}
        for some in self._batches.of(draw):
            parts.setdefault(there[some.block], []).append(some)
        most = -(-2 * plan.layout.pool // max(1, plan.workers)) or len(plan.bounds)
        given = most, plan.rows_at_once
        return [
            self._task(run_drawn, errand, part, *given, of=errand, owner=owners[head]) for head, part in parts.items()
        ]

    def _advance_by_groups(self, model: Parted, rows: RowStore, shared: Any) -> Advance:
        groups, parcel = self.plan.groups, self._post.parcel(model)
        start, before = self._apart(model, shared)
        errand = self._errand(self._post.parcel(model.part), self._post.sent(start), data=True, tiles=True)
        within_reach = self._within_reach(rows)
        reports: tuple[Any, ...] = ()
        state, kept = start, list(before)
        for number, shards in enumerate(groups):
            following, earlier, left = self._post.held(), kept[number], self._post.held()
            kept[number] = left
            turn = Turn(
                before=None if earlier is None else earlier.name,
                left=left.name,
                seen=tuple((age, held.name) for age, held in aged(kept, number)),
                following=following.name,
                ends=number == len(groups) - 1,
                start=(errand.shared, tuple(held.name for held in before if held)),
            )
            outcome = self._turned(replace(errand, shared=self._post.sent(state)), parcel, turn, within_reach, shards)
            reports += outcome.reports
            current, state = state, following
        self.reports = reports
        if not outcome.accepted:
            return Advance(rows, outcome.objective, HeldApart(state, [held for held in before if held]), False)
        after = self._rows(errand, outcome.names)
        return Advance(after, outcome.objective, HeldApart(state, [held for held in kept if held]), True, current)

    def _turned(
        self, errand: Errand, model: Parcel, turn: Turn, rows: RowStore | None, shards: Sequence[int]
    ) -> Outcome:
        """A group's turn."""
        outcome: Outcome = self._swept(
            errand, rows, lambda sums: self._task(conclude_turn, errand, model, turn, *sums, of=errand), shards
        )
        return outcome

    def _apart(self, model: Parted, shared: Any) -> tuple[Any, list[Held | None]]:
        """The state alone, and what each group has left, where it has; that of a plain one becomes blobs."""
        if isinstance(shared, HeldApart):
            return shared.state, list(shared.kept)
        state, kept = unparted(model, shared, self.plan)
        return state, [None if left is None else self._post.held(left) for left in kept]

    def fetch(self, shared: Any) -> Shared:
        """The plain state; read from its blob, so that it can be had when the cluster is gone."""
        if isinstance(shared, HeldApart):
            kept = tuple(self.fetch(left) for left in shared.kept)
            return {**self.fetch(shared.state), "kept": kept, "grouping": self.plan.grouping}
        state: Shared = shared.name.blobs.get_state(shared.name.name) if isinstance(shared, Held) else shared
        return state

    def each(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """`function` of each item on the workers, in their order."""
        return each_on(self.client, self.passport, function, items)

    # --- tasks ----------------------------------------------------------------------------------------------

    def _errand(self, step: Parcel, shared: Parcel | StateName | Changed, data: bool, tiles: bool) -> Errand:
        self.sweeps += 1
        self._post.tidy()
        discard, self._stale[:] = tuple(self._stale), []
        return Errand(
            run=self.run,
            sweep=self.sweeps,
            passport=self.passport,
            source=self._source,
            step=step,
            shared=shared,
            blobs=self._post.blobs,
            tile_rows=self.plan.tile_rows if data and tiles else None,
            data=data,
            cache_bytes=self.plan.cache_bytes,
            discard=discard,
            device=self.plan.device,
        )

    def _swept(
        self,
        errand: Errand,
        rows: RowStore | None,
        end: Callable[[list[Future[Any]]], Future[Any]],
        numbers: Sequence[int] | None = None,
    ) -> Any:
        """The result of the task that `end` makes of the sums of all shards, or of those of such `numbers`."""
        there, which = self._within_reach(rows), numbers or range(len(self.plan.shards))
        try:
            return self._ended(
                lambda: self._shards(errand, there, which), lambda shards: end(self._tree(errand, shards))
            )
        finally:
            self._progress.end()

    def _ended(self, begin: Callable[[], list[Future[Any]]], end: Callable[[list[Future[Any]]], Future[Any]]) -> Any:
        """The result of the task that `end` makes of the tasks that `begin` places, again if they are stranded."""
        while True:
            tasks = begin()
            last = end(tasks)
            try:
                return settled(self.client, last, tasks)
            except Stranded:
                cancel(self.client, [last, *tasks])
            except BaseException:
                cancel(self.client, [last, *tasks])
                raise

    def _shards(self, errand: Errand, rows: RowStore | None, numbers: Sequence[int]) -> list[Future[Any]]:
        owners = self._placement.on(self._present())
        bounds = self.plan.bounds
        self._progress.begin(errand.sweep, len(numbers))
        futures = []
        for index in numbers:
            blocks = [(i, *bounds[i]) for i in self.plan.shards[index]]
            part = None if rows is None else rows.part(blocks[0][1], blocks[-1][2])
            futures.append(self._task(run_shard, errand, index, blocks, part, of=errand, owner=owners[index]))
        return futures

    def _present(self) -> dict[str, int]:
        """Threads of the live workers; the watcher hears of those that have come or gone."""
        threads = live_workers(self.client)
        for gone in sorted(set(self._workers) - set(threads)):
            self._watcher.note(f"worker {gone} is gone; others do its part")
        for new in sorted(set(threads) - set(self._workers) if self._workers else ()):
            self._watcher.note(f"worker {new} has come")
        self._workers = threads
        return threads

    def _within_reach(self, rows: RowStore | None) -> RowStore | None:
        """Rows that workers can read: those that only this process has become blobs, a block at a time."""
        if rows is None or not rows.lasting:
            return rows
        if not rows.read(0, 1):
            return None  # a sweep that made none
        assert self._post.blobs is not None, "rows need a place"
        generation = f"given-{uuid.uuid4().hex[:8]}"
        for lo, hi in self.plan.bounds:
            if part := rows.read(lo, hi):
                self._post.blobs.put_rows(blob_name(generation, lo), part)
        return self._generation(self._post.blobs, generation)

    def _tree(self, errand: Errand, partials: list[Future[Any]]) -> list[Future[Any]]:
        """Sums of neighbours, until one task can add up the rest; the first are those of one worker."""
        most = self.plan.layout.fan_in
        while most and len(partials) > most:
            groups = [partials[i : i + most] for i in range(0, len(partials), most)]
            partials = [self._task(merge, *group, of=errand) if len(group) > 1 else group[0] for group in groups]
        return partials

    def _task(self, function: Callable[..., Any], *given: Any, of: Errand, owner: str | None = None) -> Future[Any]:
        key = f"{function.__name__}-{of.run}-{of.sweep}-{uuid.uuid4().hex[:8]}"
        place = {} if owner is None else {"workers": [owner], "allow_other_workers": True}
        return self.client.submit(function, *given, key=key, pure=False, retries=RETRIES, **place)

    def _alone(self, function: Callable[..., Any], *given: Any) -> Any:
        """The result of a task between sweeps."""
        key = f"{function.__name__}-{self.run}-{self.sweeps}-{uuid.uuid4().hex[:8]}"
        future = self.client.submit(function, *given, key=key, pure=False, retries=RETRIES)
        try:
            return settled(self.client, future)
        except BaseException:
            cancel(self.client, [future])
            raise

    def _rows(self, errand: Errand, names: tuple[str, ...]) -> RowStore:
        if not names:
            return ResidentRows({})
        assert errand.blobs is not None
        return self._generation(errand.blobs, str(errand.sweep))

    def _generation(self, blobs: Blobs, name: str) -> BlockRows:
        """The rows that were written under `name`; when nobody holds them any more, the next sweep removes them."""
        rows = BlockRows(blobs, name, self._edges)
        weakref.finalize(rows, self._stale.append, name)
        return rows


async def _forget(run: str, dask_worker: Any) -> None:
    # A coroutine, for dask does not wait for one: nobody's end of a fit hangs on a worker that is busy.
    plugin = dask_worker.plugins.get(PLUGIN)
    if plugin is not None:
        plugin.forget(run)
