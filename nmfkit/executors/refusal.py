"""A budget of memory that is too small, and the one that would do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from nmfkit.errors import UsageError

T = TypeVar("T")

ROUNDS = 60
"""How often a larger budget is tried: more memory has larger blocks, of which more has to be there at once."""
STEP = 1.05
"""How much larger each is at least."""


class TooLittle(UsageError):
    """A budget, by its option's name in Python, of which `enough` bytes are believed to do; `told` says so."""

    def __init__(self, told: Callable[[float], str], enough: float, option: str) -> None:
        super().__init__(told(enough))
        self.told, self.enough, self.option = told, enough, option

    def __reduce__(self) -> tuple[Any, ...]:
        return UsageError, (str(self),)


def sufficing(planned: Callable[..., T], options: dict[str, Any]) -> T:
    """`planned` with these options; a refusal names a budget with which there is a plan, where one is found."""
    try:
        return planned(**options)
    except TooLittle as refusal:
        raise TooLittle(refusal.told, _enough(planned, options, refusal), refusal.option) from None


def _enough(planned: Callable[..., T], options: dict[str, Any], refusal: TooLittle) -> float:
    enough = refusal.enough
    for _ in range(ROUNDS):
        try:
            planned(**{**options, refusal.option: int(enough)})
            return enough
        except TooLittle as again:
            if again.option != refusal.option:
                return enough  # that one is told when it comes to it
            enough = max(again.enough, STEP * enough)
    return enough
