"""What a model must offer, and what it may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from nmfkit.blocks import Array, Block
    from nmfkit.probe import Probe
    from nmfkit.protocols.exchange import Rows, Shared, Stats
    from nmfkit.protocols.places import Initializer, RowStore, Sweep


@dataclass(frozen=True)
class Ingredients:
    """The parts that a problem names, resolved, as a model's factory receives them."""

    loss: Any
    rule: Any
    reg_w: tuple[Any, ...]
    reg_h: tuple[Any, ...]
    ranks: tuple[int, ...]


@runtime_checkable
class Model(Protocol):
    """A factorization as a program of two pure halves: `local` on a block, `apply` on the sums."""

    takes: ClassVar[frozenset[str]]
    """Which of "loss", "rule", "reg-w", "reg-h", "init" the model uses; naming another is a misfit."""

    @property
    def row_factors(self) -> tuple[str, ...]:
        """Names of the factors that are sharded with the rows of X; those with a dot are for going on alone."""
        ...

    @property
    def elementwise(self) -> bool:
        """Whether a step makes temporaries of the size of its tile of X."""
        ...

    @property
    def forms_product(self) -> bool:
        """Whether a step forms ŷ densely even where X is sparse."""
        ...

    def misfits(self) -> Sequence[str]:
        """Reasons why the ingredients do not fit together, beyond what capabilities say."""
        ...

    def start(
        self, initializer: Initializer, sweep: Sweep, probe: Probe, seed: int, dtype: Any
    ) -> tuple[RowStore, Shared]:
        """Starting rows and the shared state before the first sweep."""
        ...

    def local(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """One block of a sweep: new rows, and statistics under any names plus `"value"`, the block's loss."""
        ...

    def apply(self, shared: Shared, stats: Stats) -> Shared:
        """The next shared state, from the sweep's sums."""
        ...

    def objective(self, shared: Shared, stats: Stats) -> float:
        """The objective of the rows that `local` returned with the `shared` it was given."""
        ...

    def encode(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """Rows of new data on fixed shared factors: the step of `transform`."""
        ...

    def factors(self, shared: Shared) -> dict[str, Array]:
        """The shared factors by the names of the run store: {"h": (r, n)}."""
        ...


@runtime_checkable
class Calibrates(Protocol):
    """a model that takes regularizers whose weight is measured by the loss at the start."""

    def calibrate(self, rows: RowStore, shared: Shared, sweep: Sweep) -> tuple[RowStore, Shared]:
        """Rows and state to begin with, the weights of `Relative` regularizers fixed; the same where there are none."""
        ...

    def regularizers(self, shared: Shared) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Those of W and those of H as they act with `shared`, in the order of the problem."""
        ...


@runtime_checkable
class Guarded(Protocol):
    """A model that may take a step back, because its steps are longer than what is known to lower the objective."""

    def refused(self, shared: Shared, objective: float) -> Shared | None:
        """The state to go on with from the rows before, if a sweep that ended at `objective` is to be undone."""
        ...


@runtime_checkable
class KeepsBest(Protocol):
    """a model whose sweeps need not each lower the objective, so that the best one so far is what counts.

    A sweep above the best does not count: its record repeats the best, whose rows and state stand, and the fit goes on
    from its `following` all the same. The rows that the next sweep gets are those of the best, so the state holds all
    that such a fit goes on from.
    """

    @property
    def keeps_best(self) -> bool:
        """Whether it does."""
        ...


@runtime_checkable
class HasUnfitted(Protocol):
    """a model of data of which factors may explain a small part only."""

    def unfitted(self, shared: Shared) -> float:
        """The objective of no factors at all: `tol` is a fraction of the decrease since, where that is smaller."""
        ...


@runtime_checkable
class Gathers(Protocol):
    """a model that brings all rows of a factor together, as a statistic (`nmfkit.stats.Gathered`)."""

    @property
    def gathers(self) -> int:
        """How often in a sweep: once for each product that needs them all."""
        ...


@runtime_checkable
class Closes(Protocol):
    """a model whose last sweep is another one: it makes the factors that a fit returns of those that it goes on from.

    It follows on the reason to stop, and its objective is the last record.
    """

    @property
    def closes(self) -> bool:
        """Whether it does."""
        ...

    def closing_state(self, shared: Shared) -> Shared:
        """The state to close with, from the one that the next sweep would start from."""
        ...

    def closing(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """One block of the last sweep, with that state: the rows to return, and stats for `objective`.

        Rows under other names, with a dot, are for going on from; the state to go on from is kept as it is.
        """
        ...

    def objective(self, shared: Shared, stats: Stats) -> float:
        """As that of any model, here of the rows of a closing sweep."""
        ...


@runtime_checkable
class WarmsUp(Protocol):
    """a model whose first sweeps prepare those after them: an objective that stands still meanwhile is no end."""

    @property
    def least_sweeps(self) -> int:
        """How many; whether a fit has converged is asked of later sweeps alone."""
        ...


@runtime_checkable
class Ends(Protocol):
    """a model that knows by itself when to stop, beside what `tol` and the limits say."""

    @property
    def ends(self) -> bool:
        """Whether it does: its state is asked for after each sweep then."""
        ...

    def ended(self, shared: Shared) -> str | None:
        """Why a fit is at its end, in a word, from the state that the next sweep would start from."""
        ...


@runtime_checkable
class Continues(Protocol):
    """a model that goes on training with data that come later."""

    def onto(self, shared: Shared, rows: int) -> Shared:
        """The state to go on from with `rows` rows of other data, from the one that the next sweep would start from.

        The sweep that follows gets no rows of factors. What it makes its state of serves `encode` and `factors` again.
        """
        ...


@runtime_checkable
class Wide(Protocol):
    """a model whose shared state is more than its components."""

    def width(self, n: int) -> int:
        """Columns, of as many entries as X has columns, that one copy of its shared state takes."""
        ...


@runtime_checkable
class OwnRules(Protocol):
    """a model with update rules of its own kind."""

    rule_type: ClassVar[type]
    """The protocol that its rules have."""

    @classmethod
    def adopted(cls, rule: Any) -> Any:
        """A rule of the kind that any model may take as this one uses it; None where it cannot."""
        ...


@runtime_checkable
class Cautions(Protocol):
    """a model that knows of problems which are allowed, and seldom end well."""

    def cautions(self, initializer: Initializer, shape: tuple[int, int]) -> Sequence[str]:
        """What to tell of a fit to a matrix of this shape from that starting point, a sentence each."""
        ...


@runtime_checkable
class SweepsToStart(Protocol):
    """a model whose start takes sweeps over X of its own."""

    @property
    def start_sweeps(self) -> int:
        """How many at most; those of the initializer come on top."""
        ...


@runtime_checkable
class HasScale(Protocol):
    """a model that weighs its losses, so that their rounding is not that of the loss alone."""

    def scale(self, shared: Shared) -> float:
        """The size in the objective of the terms that cancel where the fit is close."""
        ...


class Level(NamedTuple):
    """One level of a model of several: its approximation of X is rows[`row`] · product of `chain` · its components.

    The components are the product of `components`: shared factors by name, the outermost first, (r, n) together. The
    factors of `chain` stand between the rows and them: (p, r) together, and nothing where it is empty.
    """

    row: str
    chain: tuple[str, ...]
    components: tuple[str, ...]


class LayerLosses(NamedTuple):
    """The loss of each layer alone, without its weight: where the layered fit began, and at its end.

    `weights` are those of the layers in the objective.
    """

    start: tuple[float, ...]
    end: tuple[float, ...]
    weights: tuple[float, ...]


@runtime_checkable
class HasLevels(Protocol):
    """a model that factorizes a factor again, so that each level has components of its own."""

    def levels(self, shared: Shared) -> tuple[Level, ...]:
        """The levels, from the one next to the data on.

        From one to the next, one factor is added: the first of `components`, or the last of `chain`.
        """
        ...

    def layer_losses(self, following: Shared) -> LayerLosses:
        """The losses of the layers, as many as levels, from the state that follows the last sweep."""
        ...
