"""What each kind of part must offer, and the capabilities that parts may offer and need.

Capabilities are Protocols: mypy sees them, `isinstance` checks them before any work starts, and the first line
of each docstring is the phrase that `check` prints. Only names are checked at run time; behaviour is what the
contracts of `nmfkit.testing` hold.

Letters: X (m, n) samples × features, W (m, r), H (r, n), ŷ = W H. A *factor* F is always seen as (rows, rank):
a row block of W, or the whole of Hᵀ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeAlias, runtime_checkable

from nmfkit.blocks import Array, Block, Linear
from nmfkit.gram import Gram
from nmfkit.lowrank import LowRank
from nmfkit.probe import Probe
from nmfkit.surrogate import Surrogate
from nmfkit.terms import Halves as Halves
from nmfkit.terms import HasPulled as HasPulled
from nmfkit.terms import HasSums as HasSums
from nmfkit.terms import HasSurrogate as HasSurrogate
from nmfkit.terms import Meeting as Meeting
from nmfkit.terms import Moment as Moment
from nmfkit.terms import Penalty as Penalty
from nmfkit.terms import Pulled as Pulled
from nmfkit.terms import Pulls as Pulls
from nmfkit.terms import Split as Split
from nmfkit.terms import Term as Term
from nmfkit.weighted import HasTerms as HasTerms
from nmfkit.weighted import HasWeighedPulled as HasWeighedPulled

if TYPE_CHECKING:
    from nmfkit.executors.each import Each
    from nmfkit.executors.plan import Plan

Stats: TypeAlias = Any
"""Additive statistics: a float, an array, a LowRank, or a tuple, list or dict of those."""

Rows: TypeAlias = dict[str, Array]
"""The rows of each row-sharded factor that belong to a block of X, by name: {"w": (rows, r)}."""

Shared: TypeAlias = dict[str, Any]
"""State that every block sees: shared factors by name, and what a model derives from them."""

Step: TypeAlias = Callable[[Block, Rows, Shared], tuple[Rows, Stats]]
"""A pure function of one block: (x, its rows, shared) -> (new rows, additive statistics)."""


# --- losses -------------------------------------------------------------------------------------------------


@runtime_checkable
class Loss(Protocol):
    """A loss: a sum over entries of d(x, ŷ)."""

    @property
    def needs_positive(self) -> bool:
        """Whether every entry of X must be > 0 (Itakura–Saito), not only ≥ 0."""
        ...

    @property
    def pattern_only(self) -> bool:
        """Whether a sparse X needs ŷ only where an entry is stored (β = 1, 2), not the dense product."""
        ...

    def value(self, x: Block, y: LowRank) -> float:
        """Σ d(x, ŷ) over the block, in float64; additive over blocks."""
        ...


@runtime_checkable
class HasSplit(Protocol):
    """a loss whose gradient splits into two nonnegative halves with a power surrogate."""

    def split(self, x: Block, y: LowRank) -> Split:
        """The halves of ∂ loss / ∂ŷ, entry by entry."""
        ...

    def surrogate(self, halves: Halves) -> Surrogate:
        """The majoriser in one factor, from the halves pulled back to it."""
        ...


@runtime_checkable
class HasEager(Protocol):
    """a loss with a steeper surrogate that usually, not always, majorises it."""

    def eager(self, halves: Halves) -> Surrogate:
        """The surrogate of the longer step; a rule that takes it must be able to take it back."""
        ...


@runtime_checkable
class HasJoint(Protocol):
    """a loss whose negative half at one pair of factors majorises it for both at once, as Kullback–Leibler's."""

    def positive(self, y: LowRank) -> LowRank:
        """The positive half at another pair, never formed."""
        ...


@runtime_checkable
class HasDataSurrogate(Protocol):
    """a loss with a majoriser in its first argument, so that a factor can be the data of another layer."""

    def data_surrogate(self, x: Array, y: Array) -> Surrogate:
        """The majoriser of d(x, y) in x > 0, made at `x`, for `y` > 0 of the same shape."""
        ...


@runtime_checkable
class HasGram(Protocol):
    """a loss that is quadratic in each factor."""

    def gram(self, other: Array) -> Array:
        """Q (r, r) of the quadratic, additive over the rows of `other` (rows, r)."""
        ...

    def cross(self, x: Linear, other: Array) -> Array:
        """C (p, r) of the quadratic: x (p, rows) times `other` (rows, r), additive over the rows of `other`."""
        ...

    def offset(self, x: Block) -> float:
        """The value at ŷ = 0, in float64: what the quadratic leaves out."""
        ...


# --- regularizers -------------------------------------------------------------------------------------------


@runtime_checkable
class Regularizer(Protocol):
    """A penalty on one factor F (rows, r), known through an additive statistic."""

    def stat(self, f: Array) -> Stats:
        """All that the penalty needs to know of a row block, additive over row blocks."""
        ...

    def value(self, stat: Stats) -> float:
        """The penalty, from the statistic summed over all rows."""
        ...


@runtime_checkable
class HasQuadratic(Protocol):
    """a regularizer with a quadratic majoriser of Gram form."""

    def quadratic(self, f: Array, stat: Stats) -> Gram:
        """The quadratic that majorises the penalty at `f`."""
        ...


@runtime_checkable
class HasEntrywise(Protocol):
    """a regularizer λ₁ f + ½ λ₂ f² of each entry alone."""

    def entrywise(self) -> tuple[float, float]:
        """(λ₁, λ₂), both ≥ 0."""
        ...


@runtime_checkable
class HasProx(Protocol):
    """a regularizer with a proximal map."""

    def prox(self, f: Array, step: float) -> Array:
        """argmin over g ≥ 0 of penalty(g) + ‖g − f‖² / (2 step)."""
        ...


@runtime_checkable
class Whole(Protocol):
    """a regularizer that couples rows, so that it needs its whole factor at once."""

    couples_rows: ClassVar[bool]


@runtime_checkable
class Sided(Protocol):
    """a regularizer that is told which factor it acts on."""

    def of_factor(self, name: str) -> Any:
        """The regularizer as it acts on F = W ("w") or on F = Hᵀ ("h")."""
        ...


@runtime_checkable
class Relative(Protocol):
    """a regularizer whose weight may be measured by the loss at the start of the fit."""

    @property
    def relative(self) -> bool:
        """Whether it is; the part then acts only once its weight is known."""
        ...

    def factor(self, loss: float, unweighted: float, stat: Stats) -> float:
        """By what the part is multiplied in a fit that starts at a factor of that `stat`.

        `loss` is the value there of what the part stands beside in the objective, `unweighted` the same without a
        weight that the model gives it; they differ where there are several.
        """
        ...


# --- update rules -------------------------------------------------------------------------------------------


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


# --- models -------------------------------------------------------------------------------------------------


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


# --- data and places ----------------------------------------------------------------------------------------


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


@runtime_checkable
class SweepsToStart(Protocol):
    """a model whose start takes sweeps over X of its own."""

    @property
    def start_sweeps(self) -> int:
        """How many at most; those of the initializer come on top."""
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
class HasScale(Protocol):
    """a model that weighs its losses, so that their rounding is not that of the loss alone."""

    def scale(self, shared: Shared) -> float:
        """The size in the objective of the terms that cancel where the fit is close."""
        ...


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


class Pass(NamedTuple):
    """A pass over the rows that comes before `local`: `step` with what of the state it needs; X is read only if `data`.

    The rows of factors that `step` returns take the place of those before, or join them; other factors stay as they
    are, so that a pass that only gathers statistics returns no rows. `shared` should be small: what is not an object
    of the state itself is sent to every worker.
    """

    step: Step
    shared: Shared
    data: bool


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
class Initializer(Protocol):
    """A starting point for one pair of factors, by sweeps over the data where it needs them."""

    def start(self, sweep: Sweep, probe: Probe, rank: int, seed: int, dtype: Any) -> tuple[RowStore, Array]:
        """Rows {"w": (rows, rank)} and H (rank, n), nonnegative; the same for every sharding."""
        ...
