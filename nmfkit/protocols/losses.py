"""What a loss must offer, and what it may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from nmfkit.blocks import Array, Block, Linear
    from nmfkit.lowrank import LowRank
    from nmfkit.surrogate import Surrogate
    from nmfkit.terms import Halves, Split


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
