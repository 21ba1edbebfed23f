"""Ranks as they are written: `2:20`, `2:20:3`, `2,4,8`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nmfkit.errors import UsageError

MOST = 1000
"""More ranks than that are a slip of the pen."""


def parse_ranks(given: str | Sequence[int]) -> tuple[int, ...]:
    """Different ranks ≥ 1 in ascending order, of `A:B[:STEP]` with B among them, `A,B,…`, or a sequence.

    Raises `UsageError` for anything else.
    """
    pieces = given
    if isinstance(given, str):
        pieces = [rank for text in given.split(",") for rank in _expanded(text.strip(), given)]
    try:
        found = sorted({_whole(piece) for piece in pieces})
    except TypeError:
        found = []
    if not found or found[0] < 1 or len(found) > MOST:
        raise UsageError(f"ranks {given!r} are not whole numbers ≥ 1, at most {MOST}; write 2:20, 2:20:3 or 2,4,8")
    return tuple(found)


def _expanded(text: str, given: str) -> Sequence[int]:
    pieces = text.split(":")
    if not (1 <= len(pieces) <= 3 and all(p.isascii() and p.isdecimal() for p in pieces)):
        raise UsageError(f"ranks {given!r} are not written as 2:20, 2:20:3 or 2,4,8")
    numbers = [int(p) for p in pieces]
    step = numbers[2] if len(numbers) == 3 else 1
    last = numbers[1] if len(numbers) > 1 else numbers[0]
    if step < 1 or last < numbers[0] or (last - numbers[0]) // step >= MOST:
        raise UsageError(f"ranks {given!r}: {text} holds no rank, or more than {MOST}")
    return range(numbers[0], last + 1, step)


def _whole(value: Any) -> int:
    import operator

    if isinstance(value, bool):
        raise TypeError
    return operator.index(value)
