"""A loss of which each entry counts with a weight: what masks, weights and missing entries turn a loss into.

With weights ω, the loss is Σ ω d(x, ŷ), and both halves of its gradient are those of d times ω. A surrogate is made of
the halves entry by entry, so that it majorises for any ω ≥ 0, whatever the loss: no sweep raises the objective.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from nmfkit.blocks import Array, Block, Dense, Linear
from nmfkit.lowrank import LowRank, formed
from nmfkit.surrogate import Surrogate
from nmfkit.terms import Halves, HasPulled, Pulls, Split, offers
from nmfkit.weighed import Weighed


@runtime_checkable
class HasTerms(Protocol):
    """a loss that gives its terms one by one."""

    def terms(self, x: Array, y: Array) -> Array:
        """d(x, ŷ) of each entry."""
        ...


@runtime_checkable
class HasWeighedPulled(Protocol):
    """a loss that computes value and pulled halves of entries with weights in one pass."""

    def pulled_weighed(self, x: Weighed, y: LowRank, *, left: bool, right: bool) -> Pulls | None:
        """What is asked for; None where it has no faster way than `split` and `terms` for such a block."""
        ...


def weighted(loss: Any, elsewhere: float) -> Any:
    """`loss` for blocks with weights, where entries that they do not store count `elsewhere`."""
    from nmfkit.protocols import HasEager

    return (EagerWeighted if isinstance(loss, HasEager) else Weighted)(loss, elsewhere)


@dataclass(frozen=True)
class Weighted:
    """Σ ω d(x, ŷ) of the entries of a `Weighed` block; of any other block, `loss` as it is."""

    loss: Any
    elsewhere: float = 1.0

    @property
    def needs_positive(self) -> bool:
        """As the loss, of entries that are not missing."""
        return bool(self.loss.needs_positive)

    @property
    def pattern_only(self) -> bool:
        """Whether ŷ is needed only where x stores an entry: always, if all others are missing."""
        return self.elsewhere == 0 or bool(self.loss.pattern_only)

    def value(self, x: Block, y: LowRank) -> float:
        """Σ ω d(x, ŷ), in float64: the whole loss but for what the weights take from it, where x is sparse."""
        if not isinstance(x, Weighed):
            return float(self.loss.value(x, y))
        at = y.at(x.x)
        if not _leaves_out(x):
            return self._sum(x.values, at, x.weights)
        changed = x.weights != 1
        weights = x.weights[changed]
        there, then = x.values[changed], at[changed]
        whole = float(self.loss.value(x.x, y)) - float(self.loss.value(*_in_line(there, then)))
        return whole + self._sum(there, then, weights)

    def _sum(self, values: Array, at: Array, weights: Array) -> float:
        """Σ ω d over entries at hand; terms of missing entries, which may be infinite, are not formed."""
        known = weights > 0
        if not bool(np.all(known)):
            values, at, weights = values[known], at[known], weights[known]
        if not isinstance(self.loss, HasTerms):  # weights are 0 or 1 then
            return float(self.loss.value(*_in_line(values, at)))
        terms = self.loss.terms(values, at)
        return float(np.sum(terms * weights, dtype=np.float64))

    def split(self, x: Block, y: LowRank) -> Split:
        """ω times the halves of the loss."""
        if not isinstance(x, Weighed):
            split: Split = self.loss.split(x, y)
            return split
        if isinstance(x.x, Dense):
            pos, neg = self.loss.split(x.x, y)
            return Split(*(x.x.like(_values(half) * x.weights) for half in (pos, neg)))
        pos, neg = self.loss.split(*_in_line(x.values, y.at(x.x)))
        pos_at, neg_at = (_values(half)[0] for half in (pos, neg))
        if not _leaves_out(x):
            return Split(x.x.like(pos_at * x.weights), x.x.like(neg_at * x.weights))
        # Everywhere, less what the weights take away; the negative half is zero where x is.
        everywhere = self.loss.split(x.x, y).pos
        return Split(
            Less(everywhere, x.x.like(pos_at * (1 - x.weights)), x),  # type: ignore[arg-type] # a half is only multiplied
            x.x.like(neg_at * x.weights),
        )

    def pulled(self, x: Block, y: LowRank, *, left: bool, right: bool) -> Pulls | None:
        """Value and halves in one pass, where the loss can."""
        if not isinstance(x, Weighed):
            return self.loss.pulled(x, y, left=left, right=right) if offers(self.loss, HasPulled) else None
        if not offers(self.loss, HasWeighedPulled):
            return None
        pulls: Pulls | None = self.loss.pulled_weighed(x, y, left=left, right=right)
        return pulls

    def surrogate(self, halves: Halves) -> Surrogate:
        """That of the loss."""
        surrogate: Surrogate = self.loss.surrogate(halves)
        return surrogate


@dataclass(frozen=True)
class EagerWeighted(Weighted):
    """The same of a loss that has a longer step."""

    def eager(self, halves: Halves) -> Surrogate:
        """That of the loss."""
        surrogate: Surrogate = self.loss.eager(halves)
        return surrogate


@dataclass(frozen=True)
class Less:
    """One matrix ≥ 0 less what the weights of `x` take from it, for products with factors."""

    all: Linear | LowRank
    some: Linear
    x: Weighed
    turned: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """(p, q)."""
        return self.some.shape

    @property
    def T(self) -> Less:
        """The transpose, for products."""
        return Less(self.all.T, self.some.T, self.x, not self.turned)

    def dot(self, b: Array) -> Array:
        """The difference times `b` (q, r) ≥ 0."""
        return self.x.left(formed(self.all.dot(b)), self.some.dot(b), turned=self.turned)


def _leaves_out(x: Weighed) -> bool:
    """Whether entries count that the block does not store."""
    return x.values.size < x.shape[0] * x.shape[1] and x.elsewhere > 0


def _in_line(values: Array, at: Array) -> tuple[Dense, LowRank]:
    """Entries of any pattern and their ŷ as a matrix of one row, which any loss takes."""
    row = at.reshape(1, -1)
    return Dense(values.reshape(1, -1)), LowRank(np.ones_like(row, shape=(1, 1)), row)


def _values(half: Block | LowRank) -> Array:
    return half.form() if isinstance(half, LowRank) else half.dense()
