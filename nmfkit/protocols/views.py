"""Models of what is made of X, and of more than the bare product of two factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from nmfkit.blocks import Array, Block
    from nmfkit.lowrank import LowRank
    from nmfkit.protocols.exchange import Shared


@runtime_checkable
class HasView(Protocol):
    """a model that factorizes columns made of those of X: Y = view(X) ≈ W H."""

    def view(self, x: Block, shared: Shared) -> Block:
        """The rows (k, N) of Y that belong to the rows (k, n) of a block of X; the block itself where Y is X."""
        ...

    def columns(self, names: Sequence[str]) -> list[str]:
        """Names of the N columns of H, from those of the n columns of X."""
        ...

    def restored(self, w: Array, shared: Shared) -> Array:
        """X̂ (k, n) in the units of X, from rows of W (k, r)."""
        ...


class Measure(Protocol):
    """What a factorization is judged by."""

    def value(self, x: Block, y: LowRank) -> float:
        """Of a block and its product W H; additive over blocks."""
        ...

    def offset(self, x: Block) -> float:
        """Of a block and no factors at all."""
        ...

    def fitted(self, y: LowRank) -> Array | LowRank:
        """What stands for the data, (k, N): `y` itself, or every entry of what is made of it."""
        ...


@runtime_checkable
class Judged(Protocol):
    """a model whose product stands for the data in a way of its own."""

    def measure(self) -> Measure:
        """What judges its W H, half a sum of squares, in place of ½ ‖X − W H‖²."""
        ...


@runtime_checkable
class Embeds(Protocol):
    """a model whose rows of W are an embedding of those of X: points whose neighbourhoods are to be those of X."""

    @property
    def embeds(self) -> bool:
        """Whether they are: `score` then says how far neighbourhoods are kept, without being asked."""
        ...
