"""What a rule is handed: the data term of a factor, its regularizers, and where the fit stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from nmfkit.blocks import Array, Block
from nmfkit.gram import Gram
from nmfkit.lowrank import LowRank, formed
from nmfkit.surrogate import Surrogate

Stats: TypeAlias = Any


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


class Pulls(NamedTuple):
    """A loss at one pair of factors: its value, and the halves carried back to W (`left`) and to Hᵀ (`right`)."""

    value: float
    left: Pulled | None
    right: Pulled | None


@runtime_checkable
class HasPulled(Protocol):
    """a loss that computes its value and its pulled halves in one pass."""

    def pulled(self, x: Block, y: LowRank, *, left: bool, right: bool) -> Pulls | None:
        """What is asked for; None where it has no faster way than `split` and `value` for such a block."""
        ...


@runtime_checkable
class HasSurrogate(Protocol):
    """a regularizer with a power surrogate."""

    def surrogate(self, f: Array, stat: Stats) -> Surrogate:
        """The majoriser at the row block `f`; `stat` is the whole factor's statistic at the same point."""
        ...


@runtime_checkable
class HasSums(Protocol):
    """a regularizer that holds sums of the factor's entries where they are, and costs nothing there."""

    @property
    def total(self) -> float:
        """What the entries of each sum add up to."""
        ...

    @property
    def across(self) -> bool:
        """Whether it is the rows of F (rows, r) that are summed, each for itself; its columns otherwise."""
        ...

    def onto(self, f: Array) -> Array:
        """The whole factor `f` rescaled to these sums."""
        ...


def offers(part: Any, capability: type) -> bool:
    """Whether a part has a capability of methods alone, remembered: asking takes as long as work on a small tile."""
    return bool(_offered(type(part), capability))


_offered: Any = lru_cache(256)(issubclass)


class Meeting:
    """A loss on a block at one pair of factors, y = w h: value and halves, together where the loss can.

    `left` and `right` say which halves will be asked for, so that one pass gives them all.
    """

    def __init__(self, loss: Any, x: Block, y: LowRank, *, left: bool = False, right: bool = False) -> None:
        self.loss, self.x, self.y = loss, x, y
        self._wanted = (left, right)
        self._pulls: Pulls | None = None
        self._split: Split | None = None
        self._asked = not offers(loss, HasPulled)

    def value(self) -> float:
        """Σ d(x, ŷ) over the block, in float64."""
        pulls = self._together()
        return float(self.loss.value(self.x, self.y)) if pulls is None else pulls.value

    def pulled(self, turned: bool) -> Pulled:
        """The halves carried back to W, or to Hᵀ if `turned`."""
        pulls = self._together()
        found = None if pulls is None else pulls.right if turned else pulls.left
        return found or pulled_back(self._halves(), self.y.u if turned else self.y.v.T, turned)

    def _together(self) -> Pulls | None:
        if not self._asked:
            left, right = self._wanted
            self._pulls, self._asked = self.loss.pulled(self.x, self.y, left=left, right=right), True
        return self._pulls

    def _halves(self) -> Split:
        if self._split is None:
            self._split = self.loss.split(self.x, self.y)
        return self._split


def pulled_back(split: Split, other: Array, turned: bool) -> Pulled:
    """Both halves times the other factor."""
    pos, neg = ((half.T if turned else half).dot(other) for half in split)
    return Pulled(pos, neg)


@dataclass(frozen=True)
class Term:
    """The data term of one factor on one block: the loss of x against ŷ, seen from that factor.

    For W: `x` and `y` as they are, `other` = Hᵀ (n, r). For H: the same `x` and `y` with `turned`, `other` = the
    block's rows of W (rows, r). A rule never needs to know which. `meeting` is what the terms of both factors share.
    """

    loss: Any
    x: Block
    y: LowRank
    other: Array
    turned: bool = False
    meeting: Meeting | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, meeting: Meeting, *, turned: bool = False) -> Term:
        """The term of W, or that of H if `turned`."""
        y = meeting.y
        return cls(meeting.loss, meeting.x, y, y.u if turned else y.v.T, turned, meeting)

    def pulled(self) -> Pulled:
        """The loss's halves carried back to this factor; needs a `HasSplit` loss."""
        if self.meeting is not None:
            return self.meeting.pulled(self.turned)
        return pulled_back(self.loss.split(self.x, self.y), self.other, self.turned)

    def cross(self) -> Array:
        """X · other, C of the Gram form; needs a `HasGram` loss."""
        cross: Array = self.loss.cross(self.x.T if self.turned else self.x, self.other)
        return cross

    def value(self) -> float:
        """Σ d(x, ŷ), in float64."""
        return float(self.loss.value(self.x, self.y)) if self.meeting is None else self.meeting.value()


@dataclass(frozen=True)
class Penalty:
    """The regularizers of one factor with their statistics at the current point, ready for a rule to add."""

    parts: tuple[Any, ...] = ()
    stats: tuple[Stats, ...] = ()
    multipliers: Any = None
    """`Multipliers` of the whole factor's column sums, for a row block of a factor that is held to such sums."""

    @property
    def sums(self) -> HasSums | None:
        """The part that holds the factor to sums, if there is one."""
        return next((part for part in self.parts if isinstance(part, HasSums)), None)

    def surrogates(self, f: Array) -> list[Surrogate]:
        """One surrogate for each part that has one, at the row block `f`."""
        known = zip(self.parts, self.stats, strict=True)
        return [part.surrogate(f, stat) for part, stat in known if offers(part, HasSurrogate)]

    def quadratics(self, f: Array) -> list[Gram]:
        """One quadratic for each part, at the row block `f`."""
        return [part.quadratic(f, stat) for part, stat in zip(self.parts, self.stats, strict=True)]


@dataclass(frozen=True)
class Moment:
    """Where a fit stands when a factor is updated: the least value a factor may take, and the sweeps done before.

    Unless `safe`, a step may be longer than what is known to lower the objective: whoever asks will see whether it
    did, and take it back otherwise. `whole` is the number of rows of the factor that it is a block of, if it is one.
    """

    floor: float
    sweep: int = 0
    safe: bool = True
    whole: int = 0
