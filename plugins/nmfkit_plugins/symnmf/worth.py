"""When the randomised rules pay, by what a sweep costs with them and without."""

from __future__ import annotations

import warnings

from nmfkit.errors import Caution

SMALL = 10_000
"""Entries below which no way costs anything."""


def worth_it(rule: str, entries: float, n: int, least: float) -> bool:
    """Whether rows of a matrix (n, n) of so many nonzero entries hold more than `least` on average, or it is small.

    Where it is neither, `rule` warns with a `Caution` that it will not do what it is there for.
    """
    if entries < SMALL or entries > least * n:
        return True
    warnings.warn(
        f"rule {rule} is left at plain symhals: rows hold {entries / n:,.0f} entries on average, and it saves time "
        f"only from {least:,.0f} on; {rule}:always=yes has it all the same",
        Caution,
        stacklevel=2,
    )
    return False
