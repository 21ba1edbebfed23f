"""What a rule of symmetric factorization offers: how it moves H, where A ≈ H Hᵀ."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from nmfkit.blocks import Array, Block
from nmfkit.probe import Probe
from nmfkit.protocols import Sweep


class Facts(NamedTuple):
    """What is known of A (n, n): its Frobenius norm, its largest and smallest entry, and `top`, at most ‖A‖₂.

    `entries` counts those that are not 0.
    `top` is the largest Rayleigh quotient in the span of the starting factor: close to ‖A‖₂ where that is good.
    """

    n: int
    norm: float
    high: float
    low: float
    top: float
    entries: int = 0


class Halves(NamedTuple):
    """Rows of A⁺ H and of A⁻ H, both (k, r), where A = A⁺ − A⁻ has entries of both signs."""

    pos: Array
    neg: Array


@runtime_checkable
class SymmetricRule(Protocol):
    """a rule of symmetric factorization."""

    monotone: ClassVar[bool]
    """Whether no sweep raises the objective."""
    signed: ClassVar[bool]
    """Whether A may have negative entries."""


@runtime_checkable
class RowSteps(SymmetricRule, Protocol):
    """a rule that moves each row of H by itself, from A H and HᵀH."""

    splits: ClassVar[bool]
    """Whether it wants `Halves` for a product with a matrix of both signs."""

    def begin(self, h: Array, facts: Facts) -> dict[str, Any]:
        """Its own state, scalars and arrays, at the start H (n, r)."""
        ...

    def step(self, h: Array, product: Array | Halves, gram: Array, state: dict[str, Any]) -> Array:
        """New rows (k, r) from rows `h` of H and `product` of A H, both (k, r), and `gram` = HᵀH of the whole H."""
        ...

    def advance(self, state: dict[str, Any], objective: float) -> dict[str, Any]:
        """Its state for the next sweep, after one that found H at `objective`."""
        ...


@runtime_checkable
class WholeSteps(SymmetricRule, Protocol):
    """a rule that moves all rows of H at once, from A H."""

    keeps_matrix: ClassVar[bool]
    """Whether it needs A itself in memory."""

    def begin(self, h: Array, facts: Facts, matrix: Block | None) -> dict[str, Any]:
        """Its own state at the start H (n, r); `matrix` is A where it keeps it.

        Raises `UsageError` where A is too large to be kept.
        """
        ...

    def move(self, h: Array, product: Array, state: dict[str, Any]) -> tuple[Array, dict[str, Any]]:
        """The next H and state from H and A H, both (n, r); `state["objective"]` is that of H."""
        ...

    def refused(self, state: dict[str, Any], objective: float) -> tuple[Array, dict[str, Any]] | None:
        """Another H to try and its state, if the one that ended at `objective` is to be undone; None to keep it."""
        ...


@runtime_checkable
class PairSteps(SymmetricRule, Protocol):
    """a rule for two factors, A ≈ U Vᵀ with λ/2 ‖U − V‖², that minimises in one of them at a time."""

    def weight(self, facts: Facts, h: Array) -> float:
        """λ ≥ 0, at the start H (n, r)."""
        ...

    def update(self, f: Array, q: Array, c: Array) -> Array:
        """New rows from `f` (k, r), at or towards the least ½ tr(F q Fᵀ) − ⟨F, c⟩, F ≥ 0.

        `q` = VᵀV + λI is (r, r), `c` = A V + λ V has the rows of F.
        """
        ...


@runtime_checkable
class Prepares(Protocol):
    """a rule with a start of its own, made from that of the initializer."""

    def prepared(self, h: Array, sweep: Sweep, probe: Probe, seed: int) -> Array:
        """H (n, r) to begin with, from the initializer's."""
        ...


@runtime_checkable
class OwnSweeps(Protocol):
    """a rule for a pair with sweeps of its own."""

    def sweeps(self, ignored: bool) -> Any:
        """What goes through A for the model; the diagonal of A is of no account if `ignored`."""
        ...
