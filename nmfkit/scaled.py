"""Any regularizer times a number: what becomes of a weight that is measured by the data."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.gram import Gram
from nmfkit.protocols import HasEntrywise, HasProx, HasQuadratic, HasSurrogate, Stats, Whole
from nmfkit.surrogate import Surrogate


def scaled(part: Any, factor: float) -> Any:
    """`part` times `factor` ≥ 0, with the capabilities that the part has; the part itself where `factor` is 1."""
    return part if factor == 1 else _scaled_class(part.__class__)(part, factor)


class Scaled:
    """The penalty of `part` times `factor`."""

    def __init__(self, part: Any, factor: float) -> None:
        self.part, self.factor = part, factor

    def stat(self, f: Array) -> Stats:
        """That of the part."""
        return self.part.stat(f)

    def value(self, stat: Stats) -> float:
        """The part's value times the factor."""
        return self.factor * float(self.part.value(stat))

    def __repr__(self) -> str:
        return f"{self.factor:g} · {self.part!r}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scaled) and (self.part, self.factor) == (other.part, other.factor)

    def __hash__(self) -> int:
        return hash((self.part, self.factor))

    def __reduce__(self) -> Any:
        return (scaled, (self.part, self.factor))


class _WithSurrogate(Scaled):
    def surrogate(self, f: Array, stat: Stats) -> Surrogate:
        return {power: self.factor * c for power, c in self.part.surrogate(f, stat).items()}


class _WithQuadratic(Scaled):
    def quadratic(self, f: Array, stat: Stats) -> Gram:
        q, c = self.part.quadratic(f, stat)
        return Gram(self.factor * q, self.factor * c)


class _WithEntrywise(Scaled):
    def entrywise(self) -> tuple[float, float]:
        linear, square = self.part.entrywise()
        return self.factor * linear, self.factor * square


class _WithProx(Scaled):
    def prox(self, f: Array, step: float) -> Array:
        proximal: Array = self.part.prox(f, self.factor * step) if self.factor else np.maximum(f, 0)
        return proximal


_OFFERS: dict[type, type[Scaled]] = {
    HasSurrogate: _WithSurrogate,
    HasQuadratic: _WithQuadratic,
    HasEntrywise: _WithEntrywise,
    HasProx: _WithProx,
}


@cache
def _scaled_class(kind: type) -> type[Scaled]:
    """`Scaled` with what a part of that class offers, so that asking for a capability gets the part's answer."""
    offered = [mixin for capability, mixin in _OFFERS.items() if issubclass(kind, capability)]
    whole = {"couples_rows": kind.couples_rows} if isinstance(kind, Whole) else {}
    return type("Scaled", (*offered, Scaled), whole)
