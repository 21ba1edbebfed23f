"""Which parts the laws of rules and models combine: everything registered that fits together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from nmfkit.check import Resolved, resolve
from nmfkit.errors import NmfkitError
from nmfkit.problem import Problem
from nmfkit.protocols import Chooses, HasSums, Ingredients, Penalty
from nmfkit.registry import registry
from nmfkit.testing.registered import examples_of


@dataclass(frozen=True)
class Mix:
    """A loss and regularizers of one factor that a rule accepts, after so many sweeps."""

    loss: Any
    regularizers: tuple[Any, ...]
    text: str
    sweep: int = 0

    @property
    def couples_rows(self) -> bool:
        """Whether some regularizer needs its whole factor."""
        sums = self._sums
        summed = sums is not None and not sums.across
        return summed or any(getattr(part, "couples_rows", False) for part in self.regularizers)

    def onto(self, f: Any) -> Any:
        """The factor with the sums that are asked for, where they are."""
        sums = self._sums
        return f if sums is None else sums.onto(f)

    @property
    def _sums(self) -> HasSums | None:
        return next((part for part in self.regularizers if isinstance(part, HasSums)), None)

    def penalty(self, f: Any) -> Penalty:
        """The regularizers with their statistics at `f`."""
        return Penalty(self.regularizers, tuple(part.stat(f) for part in self.regularizers))

    def value(self, f: Any) -> float:
        """The regularizers' sum at `f`."""
        return sum(float(part.value(part.stat(f))) for part in self.regularizers)


def texts(kind: str) -> list[str]:
    """The examples of every registered part of a kind."""
    return [text for part in registry().of_kind(kind) for text in examples_of(part)]


def regularizer_mixes() -> list[tuple[str, ...]]:
    """None, each regularizer alone, and each pair of the first examples of two of them."""
    parts = [examples_of(part) for part in registry().of_kind("regularizer")]
    alone = [(text,) for examples in parts for text in examples]
    return [(), *alone, *combinations([examples[0] for examples in parts if examples], 2)]


def accepted_by(rule: Any) -> Iterator[Mix]:
    """Every registered loss with every mix of regularizers on H that fits the rule."""
    for loss in texts("loss"):
        for mix in regularizer_mixes():
            resolved = resolved_or_none(Problem(loss=loss, rule=rule, reg_h=mix))
            if resolved is not None and not _becomes_another(rule, parts := resolved.ingredients):
                yield Mix(parts.loss, parts.reg_h, " + ".join((loss, *mix)))


def _becomes_another(rule: Any, parts: Ingredients) -> bool:
    """Whether the regularizers alone make it another rule, which has a contract of its own."""
    return isinstance(rule, Chooses) and rule.chosen(parts.loss, parts.reg_h) != rule.chosen(parts.loss, ())


def resolved_or_none(problem: Problem) -> Resolved | None:
    """The problem with its parts, None where they do not fit together."""
    try:
        return resolve(problem)
    except NmfkitError:
        return None
