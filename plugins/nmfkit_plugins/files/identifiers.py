"""Identifiers of rows and columns in long tables and edge lists: numbered as they come, then put in order."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from nmfkit.errors import Caution

WHOLE = re.compile(r"-?\d{1,18}")


def heads(path: str, first: list[str], second: list[str] | None) -> bool:
    """Whether a first line of two identifiers names the columns: texts above whole numbers, which a `Caution` tells."""
    if second is None or any(map(WHOLE.fullmatch, first[:2])) or not all(map(WHOLE.fullmatch, second[:2])):
        return False
    warnings.warn(f"{path}: the first line is read as names of columns: {', '.join(first)}", Caution, stacklevel=2)
    return True


class Identifiers:
    """Texts and the number of each, in order of first appearance."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, text: str) -> int:
        """The number of `text`, a new one where it has not come before."""
        return self._numbers.setdefault(text, len(self._numbers))

    def numbered(self, texts: Iterable[str]) -> npt.NDArray[np.int64]:
        """The number of each text."""
        return np.fromiter(map(self.number, texts), np.int64)

    def arranged(self) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
        """The identifiers in their order, and the place of each number in it.

        Whole numbers stand by value, where there are no others; else all stand as they first came.
        """
        names = list(self._numbers)
        places = np.arange(len(names))
        if all(map(WHOLE.fullmatch, names)):
            order = sorted(range(len(names)), key=lambda i: int(names[i]))
            places[order] = np.arange(len(names))
            names = [names[i] for i in order]
        return tuple(names), places
