"""Models whose sweep is more than one look at every block."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from nmfkit.blocks import Block
    from nmfkit.protocols.exchange import Rows, Shared, Stats, Step


@runtime_checkable
class Parted(Protocol):
    """A model whose shared state may be renewed several times a sweep, from what parts of the data left last.

    Where `groups` is not 0, a sweep runs `part` on one group of blocks after the other. What a group leaves (`kept`)
    is an additive statistic that holds until the group's next turn; after each turn the sum of what all groups left
    gives the next shared state. Executors keep it beside the state, and in plain states under the names "kept" and
    "grouping".
    """

    @property
    def groups(self) -> int:
        """How many groups it would like, 0 for whole sweeps."""
        ...

    def part(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """One block of a group's turn."""
        ...

    def kept(self, shared: Shared, stats: Stats, before: Stats | None) -> Stats:
        """What a group leaves, from the sums of its turn with `shared` and from what it left `before`."""
        ...

    def bound(self, shared: Shared, total: Stats) -> float:
        """At least the objective of all rows with `shared`, from the sum of what all groups have left."""
        ...

    def fading(self, shared: Shared) -> float:
        """What a group has left counts so much less at each later turn when the state is renewed; 1: as much."""
        ...

    def renew(self, shared: Shared, total: Stats, faded: Stats, *, ends: bool) -> Shared:
        """The next shared state from those sums, which lack groups not yet seen; `ends` after the last turn."""
        ...

    def overshot(self, shared: Shared, objective: float) -> bool:
        """Whether a sweep that ended at `objective` is to be undone, because of fading."""
        ...

    def regrouped(self, shared: Shared) -> Shared:
        """`shared` for other groups than before, of which none has left anything yet."""
        ...

    def retrace(self, shared: Shared) -> Shared:
        """The state that the sweep before this one was recorded with, without fading from now on."""
        ...

    def closing(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """One block of the last sweep: rows fitted to `shared`, beside those to go on from; stats for `objective`."""
        ...

    def objective(self, shared: Shared, stats: Stats) -> float:
        """As that of any model, here of the rows of a closing sweep."""
        ...


class Draw(NamedTuple):
    """Some rows of X: batch `number` (from 0) of `rows` rows each, in the order that `seed` shuffles all rows to.

    The last one of an order has what is left. Where X does not fit the memory, blocks are shuffled, and then the rows
    of so many of them at a time.
    """

    rows: int
    number: int
    seed: tuple[int, ...]


class Pass(NamedTuple):
    """A pass over the rows that comes before `local`: `step` with what of the state it needs; X is read only if `data`.

    With `draw` it sees X in the rows of one batch and no rows of factors, and returns none; the block knows no place.
    The rows of factors that `step` returns take the place of those before, or join them; other factors stay as they
    are, so that a pass that only gathers statistics returns no rows. `shared` should be small: what is not an object
    of the state itself is sent to every worker.
    """

    step: Step
    shared: Shared
    data: bool
    draw: Draw | None = None


@runtime_checkable
class Phased(Protocol):
    """A model whose sweep takes passes over the rows before `local`, each from the sums of the one before.

    `local` gets the rows as the passes have left them, and the state that the last `after` returned. Where a sweep does
    not count, rows and state before the passes stand.
    """

    @property
    def phased(self) -> bool:
        """Whether it does."""
        ...

    @property
    def reads(self) -> int:
        """How often a sweep reads X: once in `local`, and once in each pass with data."""
        ...

    @property
    def aside(self) -> int:
        """How many factors of the rows' width the passes keep beside the rows, at most."""
        ...

    def phase(self, shared: Shared) -> Pass | None:
        """The next pass over the rows before `local` may be taken, or None."""
        ...

    def after(self, shared: Shared, stats: Stats) -> Shared:
        """The state after that pass, from its sums; what a sweep leaves in it ends in `apply`."""
        ...


@runtime_checkable
class Draws(Protocol):
    """a phased model some of whose passes are over batches of rows (`Pass.draw`)."""

    @property
    def draws(self) -> bool:
        """Whether they are: then rows of blocks that lie apart are kept in memory together."""
        ...
