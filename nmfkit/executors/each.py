"""Many calls of one function: here one after another, elsewhere spread over workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


class Each(Protocol):
    """Calls `function` on every item and returns the results in the order of the items.

    Calls may run in any order, anywhere, at the same time, and more than once where a worker dies: the function
    can be pickled, items and results are small, and a call that runs again does the same again. An error of the
    function is raised here.
    """

    def __call__(self, function: Callable[[Item], Value], items: Sequence[Item], /) -> list[Value]:
        """The results, item by item."""
        ...


def serially(function: Callable[[Item], Value], items: Sequence[Item], /) -> list[Value]:
    """One call after another, in this process and in order."""
    return [function(item) for item in items]
