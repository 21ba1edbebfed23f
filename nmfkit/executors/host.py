"""The place of steps whose arrays are where everything else is: in the memory of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, TypeVar

from nmfkit.blocks import Block
from nmfkit.executors.plan import Plan
from nmfkit.executors.rows import ResidentRows
from nmfkit.executors.shard import Bounds, FlushedWriter, Reader, Writer, read_ahead
from nmfkit.protocols import Rows, RowStore

T = TypeVar("T")


class Host:
    """Nothing moves: blocks are computed on where they were read to, by all threads."""

    numbers: ClassVar[None] = None

    def active(self) -> AbstractContextManager[None]:
        """Nothing to do."""
        return nullcontext()

    def threads(self, plan: Plan) -> int:
        """All."""
        return plan.threads

    def reads_ahead(self, plan: Plan) -> bool:
        """Unless X is in memory anyway."""
        return not plan.resident

    def piece(self, size: int) -> int:
        """As it is: threads share the rows of a batch."""
        return size

    def enter(self, value: T) -> T:
        """As it is."""
        return value

    def leave(self, value: T) -> T:
        """As it is."""
        return value

    def rows(self, store: RowStore | None) -> RowStore | None:
        """As they are."""
        return store

    def writer(self, writer: Writer) -> FlushedWriter:
        """Rows are where they go to when they are written."""
        return AtOnce(writer)

    def keep(self, plan: Plan) -> Callable[[Rows], RowStore] | None:
        """Rows stay in memory where they fit."""
        return ResidentRows if plan.rows_resident else None

    def block(self, index: int, lo: int, hi: int, reader: Reader) -> Block:
        """The block as it is read."""
        kept = reader.cached(index)
        return reader.read(index, lo, hi) if kept is None else kept

    def blocks(
        self,
        bounds: Bounds,
        reader: Reader,
        rows: Any,
        pool: ThreadPoolExecutor | None,
    ) -> Iterator[tuple[int, int, Block]]:
        """(lo, hi, block) of `bounds` in order; while one is in work, a thread of `pool` reads the next."""
        del rows
        if pool is None:
            return ((lo, hi, reader.fresh(i, lo, hi)) for i, lo, hi in bounds)
        return read_ahead(bounds, reader, pool)

    def close(self) -> None:
        """Nothing to do."""


class AtOnce:
    """A writer with nothing under way."""

    def __init__(self, writer: Writer) -> None:
        self.write, self.block = writer.write, writer.block

    def flush(self) -> None:
        """Nothing to do."""

    def abandon(self) -> None:
        """Nothing to do."""
