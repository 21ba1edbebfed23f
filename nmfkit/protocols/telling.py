"""What a model has to say of a fit before it begins, and of a run when it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from nmfkit.blocks import Array
    from nmfkit.result import Result


@runtime_checkable
class Tells(Protocol):
    """a model whose fits are made of more than two factors."""

    def told(self, shape: tuple[int, int]) -> Mapping[str, str]:
        """What a fit to a matrix of this shape is made of, in a line for each short word: `explain` shows them."""
        ...

    def operations(self, shape: tuple[int, int], stored: int | None) -> float:
        """Multiplications and additions of a sweep; `stored` is the number of entries of a sparse X, None if dense."""
        ...


@runtime_checkable
class Diagnoses(Protocol):
    """a model whose fits may go wrong in ways of their own."""

    def diagnosis(self, run: Result, empty: Array | None) -> Sequence[str]:
        """What is wrong with a run of it, a sentence each, without reading X: a report begins with them.

        `empty` (N,) tells which columns of what was factorized are known to be all zero, None where nobody looked.
        """
        ...
