"""Where data and factors are, and who goes through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from nmfkit.blocks import Array, Block
    from nmfkit.executors.each import Each
    from nmfkit.executors.plan import Plan
    from nmfkit.probe import Probe
    from nmfkit.protocols.exchange import Rows, Shared, Stats, Step
    from nmfkit.protocols.models import Model


class Source(Protocol):
    """A matrix that is read by row blocks; picklable, so that workers open it themselves."""

    @property
    def uri(self) -> str:
        """Where it came from, for messages and the run store."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n)."""
        ...

    @property
    def dtype(self) -> Any:
        """The dtype of the blocks that `read` returns: float32 or float64."""
        ...

    @property
    def is_sparse(self) -> bool:
        """Whether blocks are CSR."""
        ...

    @property
    def resident(self) -> bool:
        """Whether the whole matrix is in memory already, so that reading it costs nothing."""
        ...

    @property
    def nnz(self) -> int | None:
        """Stored entries of a sparse source, None for a dense one."""
        ...

    @property
    def row_names(self) -> Sequence[str] | None:
        """A name for each row, where known."""
        ...

    @property
    def feature_names(self) -> Sequence[str] | None:
        """A name for each column, where known."""
        ...

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Row ranges that tile the rows, each about `target_bytes` when read, along chunks where there are any."""
        ...

    def read(self, lo: int, hi: int) -> Block:
        """Rows `lo` … `hi`; raises `SourceError` naming them when they cannot be read."""
        ...


class RowStore(Protocol):
    """All rows of the row-sharded factors after one sweep; a sweep returns a new one and leaves the old intact."""

    @property
    def lasting(self) -> bool:
        """Whether the rows can be read for as long as this object lives, also when the fit has ended."""
        ...

    def read(self, lo: int, hi: int) -> Rows:
        """The rows `lo` … `hi` of every factor."""
        ...

    def part(self, lo: int, hi: int) -> RowStore:
        """What is needed to read nothing but the rows `lo` … `hi`; pickles, unless the rows are `lasting`."""
        ...


class Sweep(Protocol):
    """`Executor.sweep` of one data source."""

    def __call__(
        self, step: Step, rows: RowStore | None, shared: Shared, *, data: bool = True, tiles: bool = True
    ) -> tuple[RowStore, Stats]:
        """Run `step` on every block and sum its statistics in block order.

        Without `data`, X is not read; without `tiles`, a step that makes no large temporaries gets whole blocks.
        """
        ...


class Advance(NamedTuple):
    """What a sweep of a model gave: new rows, their objective with the shared state, the following (held) state.

    Unless `accepted`, the rows before and their state stand, and `following` goes on from them.
    """

    rows: RowStore
    objective: float
    following: Any
    accepted: bool
    current: Any = None
    """The (held) state that `objective` refers to, where it is not the one that the sweep was given."""


class Executor(Protocol):
    """A place to run sweeps over one source: threads here, or workers elsewhere.

    Between sweeps an executor may keep the shared state where its workers are: then it is a *held* state, which
    `sweep` and `advance` take as they take a plain one, and `fetch` turns into a plain one.
    """

    @property
    def source(self) -> Source:
        """The matrix, as sweeps read it."""
        ...

    @property
    def plan(self) -> Plan:
        """How the fit is laid out here."""
        ...

    @property
    def sweep(self) -> Sweep:
        """One pass over the source's blocks."""
        ...

    @property
    def each(self) -> Each:
        """Independent calls, for work other than sweeps."""
        ...

    def advance(self, model: Model, rows: RowStore, shared: Any) -> Advance:
        """A sweep of `model.local`: the new rows, their objective with `shared`, the following (held) state.

        A `Parted` model sweeps over the plan's groups of shards in turn, and its state is renewed after each. The
        passes of a `Phased` one come before.
        """
        ...

    def fetch(self, shared: Any) -> Shared:
        """A plain shared state from a held one; needs no worker."""
        ...

    def close(self) -> None:
        """Let go of threads, caches and scratch space; rows and states that are not kept elsewhere are lost."""
        ...


@runtime_checkable
class Initializer(Protocol):
    """A starting point for one pair of factors, by sweeps over the data where it needs them."""

    def start(self, sweep: Sweep, probe: Probe, rank: int, seed: int, dtype: Any) -> tuple[RowStore, Array]:
        """Rows {"w": (rows, rank)} and H (rank, n), nonnegative; the same for every sharding."""
        ...
