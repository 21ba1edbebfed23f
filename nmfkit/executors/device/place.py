"""The place of steps whose arrays are on a device: what enters, what leaves, what stays."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from nmfkit.blocks import Array, Block
from nmfkit.executors.device.budget import DevicePlan
from nmfkit.executors.device.ring import Residence, Ring, Staged
from nmfkit.executors.device.rows import Arriving, DeviceRows, Returning, RowsThere, is_there
from nmfkit.executors.device.runtime import Runtime
from nmfkit.executors.device.staging import Staging, travels
from nmfkit.executors.plan import Plan
from nmfkit.executors.rows import ResidentRows
from nmfkit.executors.shard import Bounds, FlushedWriter, Reader, Writer
from nmfkit.kernels.cuda import pattern
from nmfkit.leaves import mapped
from nmfkit.protocols import Rows, RowStore


class OnDevice:
    """Steps on a device, as `plan` divides its memory: what they are given enters, and what they leave may stay.

    Blocks that have room stay; others pass through a ring of buffers, copied while the one before is computed on.
    """

    def __init__(self, runtime: Runtime, plan: DevicePlan) -> None:
        self.runtime, self.plan = runtime, plan
        self._without_arrays: Any = None
        self._patterns = pattern.Kept(plan.pattern_bytes)
        with self.active(), ExitStack() as undone:
            undone.callback(runtime.give_back)
            self._staging = Staging(runtime, plan.pieces, plan.piece_bytes)
            self._ring = Ring(runtime, self._staging, plan.slots, plan.slot_bytes)
            self._residence = Residence(runtime, self._staging, plan.cache_bytes)
            undone.pop_all()

    @property
    def numbers(self) -> Callable[[Array], Array] | None:
        """Numbers of rows enter where all blocks stay on the device."""
        return self.enter if self.plan.resident else None

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within it, the calling thread computes on the device."""
        with self.runtime.active(), pattern.keeping(self._patterns):
            yield

    def threads(self, plan: Plan) -> int:
        """One gives the device its work."""
        del plan
        return 1

    def reads_ahead(self, plan: Plan) -> bool:
        """Whatever is in memory is still to be copied."""
        del plan
        return True

    def piece(self, size: int) -> int:
        """A batch is computed on as a whole."""
        del size
        return sys.maxsize

    def enter(self, value: Any) -> Any:
        """`value` with every array of numbers in it on the device."""
        owner = getattr(value, "__self__", None)
        if owner is not None and owner is self._without_arrays:
            return value  # the steps of one model, sweep after sweep
        there = mapped(value, lambda part: self.runtime.send(part) if travels(part) else part)
        if owner is not None and there is value:
            self._without_arrays = owner
        return there

    def leave(self, value: Any) -> Any:
        """`value` with every array in it on the host."""
        with self.active():
            return mapped(value, lambda part: self.runtime.fetch(part) if self.runtime.holds(part) else part)

    def rows(self, store: RowStore | None) -> RowsThere | None:
        """The rows of `store` as steps take them."""
        return None if store is None else RowsThere(store, self)

    def keep(self, plan: Plan) -> Callable[[Rows], RowStore] | None:
        """Rows stay on the device or in memory, where they fit."""
        if self.plan.rows_resident:
            return partial(DeviceRows, place=self)
        return ResidentRows if plan.rows_resident else None

    def writer(self, writer: Writer) -> FlushedWriter:
        """What takes the rows of steps to `writer`."""
        return Arriving(writer, self) if self.plan.rows_resident else Returning(writer, self.runtime)

    def block(self, index: int, lo: int, hi: int, reader: Reader) -> Block:
        """The block on the device where all blocks stay there, else on the host."""
        if not self.plan.resident:
            return reader.read(index, lo, hi)
        staged = self._kept(index, lo, hi, reader)
        if not isinstance(staged, Staged):
            block: Block = self.enter(staged)
            return block
        self.runtime.wait(None, staged.arrived)
        return staged.block

    def blocks(
        self,
        bounds: Bounds,
        reader: Reader,
        rows: RowsThere | None,
        pool: ThreadPoolExecutor | None,
    ) -> Iterator[tuple[int, int, Block]]:
        """(lo, hi, block) of `bounds` in order, on the device; threads of `pool` read and copy those that come next.

        Rows that are on the host come along with their blocks.
        """
        assert pool is not None
        coming = RowsThere(rows.store, self) if rows is not None and not is_there(rows.store) else None
        ahead: deque[tuple[int, int, Future[Staged] | Staged]] = deque()
        left = iter(bounds)
        try:
            while True:
                while len(ahead) < self.plan.slots and (bound := next(left, None)) is not None:
                    ahead.append((bound[1], bound[2], self._ask(bound, reader, coming, pool)))
                if not ahead:
                    return
                lo, hi, asked = ahead[0]  # it stays there until it is done, to be let go with the others
                staged = self._arrived(asked.result() if isinstance(asked, Future) else asked)
                if rows is not None and staged.rows:
                    rows.brought = (lo, hi, staged.rows)
                yield lo, hi, staged.block
                ahead.popleft()
                self._ring.free(staged)
        finally:
            self._let_go(ahead)

    def _arrived(self, staged: Staged) -> Staged:
        """A block that whatever is computed next finds there."""
        if staged.arrived is None:  # larger than a buffer, as a sparse one may be
            return Staged(self.enter(staged.block), self.enter(staged.rows))
        self.runtime.wait(None, staged.arrived)
        return staged

    def _ask(
        self, bound: tuple[int, int, int], reader: Reader, rows: RowsThere | None, pool: ThreadPoolExecutor
    ) -> Future[Staged] | Staged:
        kept = self._residence.get(bound[0])
        if kept is not None and rows is None:
            return kept
        return pool.submit(self._brought, bound, reader, rows)

    def _brought(self, bound: tuple[int, int, int], reader: Reader, rows: RowsThere | None) -> Staged:
        """A block on its way to the device; by a thread that reads."""
        index, lo, hi = bound
        with self.active():
            block = self._kept(index, lo, hi, reader)
            beside = {} if rows is None else rows.away(lo, hi)
            if isinstance(block, Staged):
                if not beside:
                    return block
                self.runtime.wait(None, block.arrived)
                block = block.block
            if self._ring.fits((block, beside)):
                return self._ring.stage(block, beside)  # behind the block's own copy, where that is under way
            return Staged(block, beside)

    def _kept(self, index: int, lo: int, hi: int, reader: Reader) -> Staged | Block:
        """The block as it stays on the device; as it was read, where it has no room there."""
        if (staged := self._residence.get(index)) is not None:
            return staged
        if not self.plan.resident and not self._residence.might_take(self.plan.block_bytes):
            return reader.read(index, lo, hi)
        block = reader.fresh(index, lo, hi)
        staged = self._residence.take(index, block)
        return block if staged is None else staged

    def _let_go(self, ahead: deque[tuple[int, int, Future[Staged] | Staged]]) -> None:
        """Free the buffers of blocks that nobody will compute on."""
        for _, _, asked in ahead:
            if isinstance(asked, Future) and not asked.cancel() and asked.exception() is None:
                self._ring.free(asked.result())

    def close(self) -> None:
        """Give the memory of blocks back, once nothing is computed on them."""
        with self.active():
            self._staging.settle()
            self.runtime.settle(self.runtime.mark())
            self._patterns.drop()
            self._ring.close()
            self._residence.close()
            self.runtime.give_back()
