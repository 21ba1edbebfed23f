"""How many neighbours a node of a graph is joined with."""

from __future__ import annotations

from typing import Any

from nmfkit.affinity.cut import NORMALIZE
from nmfkit.errors import DataError
from nmfkit.parts import suggestion


def usual(n: int) -> int:
    """⌊log₂ n⌋ + 1, of n nodes."""
    return n.bit_length()


def number_faults(**options: Any) -> list[str]:
    """What is wrong with options that are numbers of neighbours."""
    return [
        f"{name} {value!r} is not a whole number ≥ 1"
        for name, value in options.items()
        if isinstance(value, bool) or not isinstance(value, int) or value < 1
    ]


def choice_faults(name: str, value: Any, known: tuple[str, ...] = NORMALIZE) -> list[str]:
    """What is wrong with an option that is one of some words."""
    if value in known:
        return []
    return [f"{name} {value!r} is not one of {', '.join(known)}{suggestion(str(value), known).partition('; known')[0]}"]


def refuse_few(n: int, uri: str, **needed: int) -> None:
    """Raise `DataError` unless `n` rows have as many others as each option needs."""
    short = [f"{name}={count} needs {count + 1:,}" for name, count in needed.items() if count > n - 1]
    if short:
        raise DataError(f"{uri}: {n:,} rows are too few: {' and '.join(short)}; ask for fewer neighbours")
