"""How wide the layers of the encoder are, and how many weights that makes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

RULES = ("auto", "paper", "geometric")
"""Rules by which widths follow from the rank and the number of columns of X."""

WIDE = 512
"""A first layer of so many units, or of four times the rank, is no burden whatever X has."""


def sizes_of(text: str, rank: int, n: int, layers: int) -> tuple[int, ...]:
    """Widths r_1, …, r_L of the layers for X of `n` columns; the last one is `rank`.

    `text` lists the hidden ones ("48,32" or "48+32"), or names a rule. "paper": r_i = ⌊n (1 − i (1 − f) / L)⌋, as in
    the program of Dutta & De (arXiv 2405.13449), where f is the decimal fraction of fewest digits with ⌊n f⌋ = `rank`.
    "geometric": by equal factors from min(4 `rank`, n) down. "auto": the paper's, unless its first layer is wider than
    512 units and than four times the rank, for its weights grow with n²; then geometric.
    """
    if text not in RULES:
        return (*hidden_in(text), rank)
    if text == "geometric":
        return _geometric(rank, n, layers)
    proportional = _proportional(rank, n, layers)
    small = proportional[0] <= max(WIDE, 4 * rank)
    return proportional if text == "paper" or small else _geometric(rank, n, layers)


def hidden_in(text: str) -> tuple[int, ...]:
    """The widths that "48,32" or "48+32" lists; raises `ValueError` for other texts."""
    pieces = [piece.strip() for piece in re.split(r"[,+]", text)]
    if not all(piece.isdecimal() and int(piece) > 0 for piece in pieces):
        raise ValueError(
            f"hidden_sizes must be {', '.join(RULES)} or whole numbers of at least 1 (48,32, or 48+32), not {text!r}"
        )
    return tuple(map(int, pieces))


def parameters_in(sizes: Sequence[int], columns: int) -> int:
    """Weights of a network of these widths for N = `columns`: N (r_1 + … + r_L) + Σ r_{i−1} r_i + r_L N."""
    return columns * (sum(sizes) + sizes[-1]) + sum(a * b for a, b in pairwise(sizes))


def _proportional(rank: int, n: int, layers: int) -> tuple[int, ...]:
    part, of = _fraction(rank, n)
    whole = layers * of  # n (1 − i (1 − part / of) / L) in whole numbers: rounding would lose a unit here and there
    hidden = (n * (whole - i * (of - part)) // whole for i in range(1, layers))
    return (*(max(1, size) for size in hidden), rank)


def _fraction(rank: int, n: int) -> tuple[int, int]:
    """Numerator and denominator, a power of ten, of the decimal fraction f of fewest digits with ⌊n f⌋ = `rank`."""
    of = 1
    while (part := -(-rank * of // n)) * n >= (rank + 1) * of:
        of *= 10
    return part, of


def _geometric(rank: int, n: int, layers: int) -> tuple[int, ...]:
    first = max(rank, min(4 * rank, n))
    steps = max(1, layers - 1)
    return (*(round(first * (rank / first) ** (i / steps)) for i in range(layers - 1)), rank)
