"""Nearness by the angle between two rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nmfkit.affinity import panel as rows
from nmfkit.affinity.metric import rounding
from nmfkit.affinity.panel import Panel
from nmfkit.blocks import CSR, Array, Block


@dataclass(frozen=True)
class Angle:
    """Keys are −x·y/√(‖x‖²‖y‖²), of which only those below zero by more than rounding count.

    Each row is taken over a power of 2 near its largest entry, which leaves its angles what they are, to the bit.
    """

    features: int

    best: ClassVar[float] = -1.0

    @property
    def worst(self) -> float:
        """A cosine that rounding could make of zero is none."""
        return -2 * rounding(self.features)

    def panel(self, block: Block) -> Panel:
        """The rows, each scaled."""
        return rows.panel(block, np.frexp(_largest(block))[1])

    def scores(self, mine: Panel, others: Panel) -> Array:
        """−x·y/(‖x‖‖y‖), zero for rows of zeros."""
        found = mine.products(others)
        found *= -_inverse(mine.squares)[:, None]
        found *= _inverse(others.squares)
        return found

    def slack(self, mine: Panel, others: Panel) -> Array:
        """The rounding of a sum no larger than 1."""
        del others
        return np.full_like(mine.squares, rounding(self.features))

    def limits(self, mine: Panel, keys: Array) -> Array:
        """The keys themselves."""
        del mine
        return keys

    def keys(self, mine: Panel, a: Array, others: Panel, b: Array) -> Array:
        """−x·y/√(‖x‖²‖y‖²), −1 at least."""
        lengths = np.sqrt(mine.squares[a] * others.squares[b])
        found: Array = np.maximum(-mine.dots(a, others, b) / lengths, self.best)
        return found


def _inverse(squares: Array) -> Array:
    """1/‖x‖, zero for rows of zeros."""
    lengths = np.sqrt(squares)
    found: Array = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return found


def _largest(block: Block) -> Array:
    """The largest size of an entry in each row (m,)."""
    sizes = np.abs(block.values)
    if not isinstance(block, CSR):
        return np.asarray(sizes.max(axis=1))
    found = np.zeros(block.shape[0])
    np.maximum.at(found, np.repeat(np.arange(block.shape[0]), np.diff(block.indptr)), sizes)
    return found
