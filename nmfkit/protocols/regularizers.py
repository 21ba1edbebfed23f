"""What a regularizer must offer, and what it may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from nmfkit.blocks import Array
    from nmfkit.gram import Gram
    from nmfkit.protocols.exchange import Stats


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
