"""What is asked for: numbers of neighbours, and how many rows are drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import UsageError

if TYPE_CHECKING:
    from nmfkit.protocols import Source

NEIGHBOURS = 5
"""How many, unless said."""

ROWS = 3000
"""Rows that are drawn where there are more, unless said."""

SEED = 0
"""By which they are drawn."""

ALL = "all"


def counts_of(given: Any) -> tuple[int, ...]:
    """Numbers of neighbours, ascending, each once: of a whole number, a text as "5,10,20", or a list of such.

    Raises `UsageError` for anything else.
    """
    found = [_count(one) for text in _listed(given) for one in _listed(text)]
    if not found:
        raise UsageError("neighbours names no number; give one, as 5, or several, as 5,10,20")
    return tuple(sorted(set(found)))


def _listed(given: Any) -> Iterable[Any]:
    if isinstance(given, str):
        return given.split(",")
    if isinstance(given, np.ndarray) and given.ndim == 1:
        return list(given.tolist())
    return given if isinstance(given, Sequence) else [given]


def _count(given: Any) -> int:
    text = str(given).strip()
    if isinstance(given, bool) or not text.isdecimal() or int(text) < 1:
        raise UsageError(f"neighbours {text!r} is not a whole number ≥ 1")
    return int(text)


def sample_of(given: Any) -> int | None:
    """How many rows are drawn: `ROWS` for None, 0 for "all", a whole number for itself; else `UsageError`."""
    if given is None:
        return ROWS
    text = str(given).strip().lower()
    if text == ALL:
        return 0
    if isinstance(given, bool) or not text.isdecimal():
        raise UsageError(f"sample {text!r} is not a whole number ≥ 1, nor 'all' (or 0) for all rows")
    return int(text)


def drawn(m: int, sample: Any, seed: int) -> Array | None:
    """The numbers of the rows that are drawn from `m`, ascending; None for all. The same for the same seed."""
    count = sample_of(sample)
    return None if not count or count >= m else picked(m, count, seed)


def picked(m: int, count: int, seed: int) -> Array:
    """`count` of `m` numbers, ascending."""
    return np.sort(np.random.default_rng(seed).choice(m, count, replace=False, shuffle=False))


def refuse_many(neighbours: Iterable[int], m: int) -> None:
    """Raise `UsageError` for numbers of neighbours of which rows of `m` have too many: T(k) needs k < m / 2."""
    if wrong := [k for k in neighbours if 2 * k >= m]:
        raise UsageError(
            f"neighbours {', '.join(map(str, wrong))}: trustworthiness and continuity of {m:,} rows need fewer than "
            f"{m / 2:g} neighbours"
        )


def refuse_other_rows(x: Source, w: Source) -> None:
    """Raise `UsageError` unless the two have as many rows."""
    if x.shape[0] != w.shape[0]:
        raise UsageError(f"x has {x.shape[0]:,} rows and w has {w.shape[0]:,}; each row of w is that of a row of x")
