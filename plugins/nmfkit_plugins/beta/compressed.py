"""Hierarchical alternating least squares that begin on a sketch of X, for data that are slow to read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from nmfkit.blocks import Array
from nmfkit.protocols import Moment, Penalty
from nmfkit.sketch import Sketching
from nmfkit_plugins.beta.hals import HALS


@dataclass(frozen=True)
class Compressed(HALS):
    """The sweeps of `hals`, begun where at most `sweeps` of them over a sketch of X have led.

    `power` + 1 reads make the sketch, of `oversample` columns more than the rank (half of it more, if that is more).
    """

    oversample: int = 10
    power: int = 2
    sweeps: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.oversample < 0 or self.power < 1 or self.sweeps < 1:
            raise ValueError(
                f"oversample must be at least 0, power and sweeps at least 1, not {self.oversample}, {self.power} and "
                f"{self.sweeps}"
            )

    def sketching(self, rank: int) -> Sketching:
        """The sketch, and `hals` as its rule."""
        width = rank + max(self.oversample, rank // 2)
        return Sketching(width, self.power, self.sweeps, HALS(self.inner, self.settle, self.extrapolate))

    def update(self, f: Array, loss: Any, prepared: Array, gathered: Array, penalty: Penalty, moment: Moment) -> Array:
        """As `hals` once settled: it has settled on the sketch."""
        return super().update(f, loss, prepared, gathered, penalty, replace(moment, sweep=moment.sweep + self.settle))
