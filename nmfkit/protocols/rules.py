"""What an update rule must offer, and what it may."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from nmfkit.blocks import Array, Block
    from nmfkit.protocols.exchange import Stats
    from nmfkit.surrogate import Surrogate
    from nmfkit.terms import Moment, Penalty, Pulled, Term


@runtime_checkable
class UpdateRule(Protocol):
    """A rule that improves one factor F (rows, r), a row block of W or the whole of Hᵀ alike.

    Rows must not see each other: updating a slice of rows gives the slice of the update.
    """

    needs: ClassVar[tuple[type, ...]]
    """Capabilities the loss must have, all of them."""
    accepts: ClassVar[tuple[type, ...]]
    """Capabilities of regularizers that the rule can use, any one of them."""
    monotone: ClassVar[bool]
    """Whether an update never raises the objective."""

    @property
    def elementwise(self) -> bool:
        """Whether the rule makes temporaries of the size of X, so that tiles should fit a cache."""
        ...

    traps_zeros: ClassVar[bool]
    """Whether an entry that is exactly zero can never leave it, so that factors are kept above a floor."""
    gathers_once: ClassVar[bool]
    """Whether `gather` does not depend on F itself, so that F may be updated again without the data."""

    def prepare(self, loss: Any, other: Array) -> Stats:
        """What the update needs of the other factor alone, additive over its rows."""
        ...

    def gather(self, term: Term) -> Stats:
        """What the update needs of the data, additive over the rows of `term.other`."""
        ...

    def update(self, f: Array, loss: Any, prepared: Stats, gathered: Stats, penalty: Penalty, moment: Moment) -> Array:
        """The new F (rows, r) from the sums of `prepare` and `gather`; a rule that zero traps stays ≥ the floor."""
        ...

    def constant(self, loss: Any, x: Block) -> float:
        """The part of the loss that no factor changes, in float64; asked for in the first sweep only."""
        ...

    def value(self, term: Term, f: Array, prepared: Stats, gathered: Stats) -> float:
        """The rest of the loss at the new `f` (the term's y is at `f`), from what is at hand, in float64."""
        ...


@runtime_checkable
class Extrapolates(Protocol):
    """a rule that goes on beyond its own steps."""

    extrapolate: bool
    """Whether it does."""

    def ahead(self, f: Array, past: Array, weight: float) -> Array:
        """The point from which the next update starts: `f` and `weight` (0 … 1) times what it has moved from `past`.

        It must be a factor, too; with `weight` 0 it is `f`.
        """
        ...


@runtime_checkable
class UpdatesRows(Protocol):
    """a rule with a better way for rows whose data are at hand, those of W, than from sums."""

    def update_rows(self, f: Array, term: Term, prepared: Stats, penalty: Penalty, moment: Moment) -> Array:
        """The new rows; `term` is that of W on their block, and `prepared` is of the other factor."""
        ...


@runtime_checkable
class StepsJointly(Protocol):
    """a rule that can update both factors from one look at ŷ, where the loss allows it."""

    joint: bool
    """Whether it does."""

    def moved(self, gathered: Stats, term: Term) -> Stats:
        """`gathered` at an earlier pair, for an update now that the other factor is that of `term`."""
        ...


@runtime_checkable
class Majorises(Protocol):
    """a rule that can say what it minimises, so that a factor sharded with the rows can be held to sums of its columns.

    Its `gather` gives halves of the loss (`Pulled`), and its `update` is the minimiser of the majoriser.
    """

    def majoriser(
        self, f: Array, loss: Any, prepared: Stats, gathered: Pulled, penalty: Penalty, moment: Moment
    ) -> Surrogate:
        """The surrogate of loss and regularizers, made at the rows `f`, whose root `update` would take."""
        ...


@runtime_checkable
class Chooses(Protocol):
    """a rule that becomes another one once the loss and the regularizers are known."""

    def chosen(self, loss: Any, regularizers: Sequence[Any]) -> UpdateRule:
        """The rule to use with this loss and these regularizers of W and of H; its needs are compared, not mine."""
        ...


@runtime_checkable
class Incremental(Protocol):
    """a rule that goes on from statistics made at earlier values of the factor, kept for each part of the data."""

    parts: int
    """How many parts of the data it would like to go through one after the other."""
    visits: int
    """How often rows are updated while their block is at hand."""
    fading: float
    """What earlier statistics count at each later turn of other parts, until that raises the objective; 1: as much."""

    def absolute(self, f: Array, loss: Any, prepared: Stats, gathered: Stats) -> Stats:
        """The majoriser that was made at `f`, without reference to `f`; additive over parts, in float64."""
        ...

    def level(self, f: Array, absolute: Stats) -> float:
        """The value of such a majoriser at any `f`, but for a constant that `absolute` does not hold."""
        ...

    def renewed(self, f: Array, absolute: Stats, penalty: Penalty, moment: Moment) -> Array:
        """The new F from `f`, by a sum of such majorisers."""
        ...
