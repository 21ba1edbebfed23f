"""Where the arrays of steps are, as `LocalExecutor` asks for it: `Host`, or a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, Protocol

from nmfkit.blocks import Array, Block
from nmfkit.executors.plan import Plan
from nmfkit.executors.shard import Bounds, FlushedWriter, Reader, Writer
from nmfkit.protocols import Rows, RowStore


class Place(Protocol):
    """A memory that steps compute in; values *enter* it from the host, and *leave* it."""

    @property
    def numbers(self) -> Callable[[Array], Array] | None:
        """Brings numbers of rows from the host to where `block` gives blocks, if that is elsewhere."""
        ...

    def active(self) -> AbstractContextManager[None]:
        """Within it, the calling thread may compute there."""
        ...

    def threads(self, plan: Plan) -> int:
        """Threads that run steps."""
        ...

    def reads_ahead(self, plan: Plan) -> bool:
        """Whether threads read blocks while others are computed on."""
        ...

    def piece(self, size: int) -> int:
        """Bytes of a batch that one step takes, of `size` that a thread would."""
        ...

    def enter(self, value: Any) -> Any:
        """`value` with its arrays there; what is there already stays."""
        ...

    def leave(self, value: Any) -> Any:
        """`value` with its arrays on the host."""
        ...

    def rows(self, store: RowStore | None) -> Any:
        """The rows of `store` as steps take them."""
        ...

    def keep(self, plan: Plan) -> Callable[[Rows], RowStore] | None:
        """What makes a store of rows in memory; None where they go to scratch files."""
        ...

    def writer(self, writer: Writer) -> FlushedWriter:
        """What takes the rows of steps to `writer`."""
        ...

    def block(self, index: int, lo: int, hi: int, reader: Reader) -> Block:
        """A block to pick rows from."""
        ...

    def blocks(
        self,
        bounds: Bounds,
        reader: Reader,
        rows: Any,
        pool: ThreadPoolExecutor | None,
    ) -> Iterator[tuple[int, int, Block]]:
        """(lo, hi, block) of `bounds` in order, there; threads of `pool` read those that come next."""
        ...

    def close(self) -> None:
        """Give memory back."""
        ...
