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
from nmfkit.lowrank import LowRank, formed
from nmfkit.probe import Probe
from nmfkit.surrogate import Surrogate

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


class Split(NamedTuple):
    """The derivative of the loss in ŷ as a difference of two nonnegative halves, pos − neg.

    Each half is a block in the shape of x (sparse where x is, dense where it must be) or a `LowRank` that is
    never formed: all ones for KL, ŷ itself for Frobenius.
    """

    pos: Block | LowRank
    neg: Block | LowRank


class Halves(NamedTuple):
    """The two halves carried back to a factor F: pos · other and neg · other, each (rows, r)."""

    pos: Array
    neg: Array


class Pulled(NamedTuple):
    """`Halves` of which some may still be products; additive over the rows of the other factor."""

    pos: Array | LowRank
    neg: Array | LowRank

    def formed(self) -> Halves:
        """Both halves as arrays."""
        return Halves(formed(self.pos), formed(self.neg))


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
class HasSurrogate(Protocol):
    """a regularizer with a power surrogate."""

    def surrogate(self, f: Array, stat: Stats) -> Surrogate:
        """The majoriser at the row block `f`; `stat` is the whole factor's statistic at the same point."""
        ...


@runtime_checkable
class HasQuadratic(Protocol):
    """a regularizer with a quadratic majoriser of Gram form."""

    def quadratic(self, f: Array, stat: Stats) -> Gram:
        """The quadratic that majorises the penalty at `f`."""
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


# --- update rules -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Term:
    """The data term of one factor on one block: the loss of x against ŷ, seen from that factor.

    For W: `x` and `y` as they are, `other` = Hᵀ (n, r). For H: the same `x` and `y` with `turned`, `other` = the
    block's rows of W (rows, r). A rule never needs to know which.
    """

    loss: Any
    x: Block
    y: LowRank
    other: Array
    turned: bool = False

    def pulled(self) -> Pulled:
        """The loss's halves carried back to this factor; needs a `HasSplit` loss."""
        pos, neg = self.loss.split(self.x, self.y)
        return Pulled(self._pull(pos), self._pull(neg))

    def cross(self) -> Array:
        """X · other, C of the Gram form; needs a `HasGram` loss."""
        cross: Array = self.loss.cross(self.x.T if self.turned else self.x, self.other)
        return cross

    def _pull(self, half: Block | LowRank) -> Array | LowRank:
        return (half.T if self.turned else half).dot(self.other)


@dataclass(frozen=True)
class Penalty:
    """The regularizers of one factor with their statistics at the current point, ready for a rule to add."""

    parts: tuple[Any, ...] = ()
    stats: tuple[Stats, ...] = ()

    def surrogates(self, f: Array) -> list[Surrogate]:
        """One surrogate for each part, at the row block `f`."""
        return [part.surrogate(f, stat) for part, stat in zip(self.parts, self.stats, strict=True)]

    def quadratics(self, f: Array) -> list[Gram]:
        """One quadratic for each part, at the row block `f`."""
        return [part.quadratic(f, stat) for part, stat in zip(self.parts, self.stats, strict=True)]


@dataclass(frozen=True)
class Moment:
    """Where a fit stands when a factor is updated: sweeps done before, and the least value a factor may take."""

    floor: float
    sweep: int = 0


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
    row_factors: ClassVar[tuple[str, ...]]
    """Names of the factors that are sharded with the rows of X."""

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

    def advance(self, model: Model, rows: RowStore, shared: Any) -> tuple[RowStore, float, Any]:
        """A sweep of `model.local`: the new rows, their objective with `shared`, the following (held) state."""
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
