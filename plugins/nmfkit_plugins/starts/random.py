"""Half-normal starting factors, row by row the same whatever the blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.probe import Probe
from nmfkit.protocols import Rows, RowStore, Shared, Stats, Sweep

CHUNK = 1024
"""Rows that share one random stream: a stream for each row would cost more than its numbers."""


@dataclass(frozen=True)
class Random:
    """|N(0, 1)| · √(mean(X) / rank) for W and H, so that WH has about the data's mean."""

    makes_zeros: ClassVar[bool] = False

    def start(self, sweep: Sweep, probe: Probe, rank: int, seed: int, dtype: Any) -> tuple[RowStore, Array]:
        """Rows {"w": (rows, rank)} and H (rank, n)."""
        scale = math.sqrt(probe.mean / rank)
        h = scale * np.abs(np.random.default_rng([seed, 1]).standard_normal((rank, probe.shape[1])))
        rows, _ = sweep(RandomRows(scale, rank, seed, np.dtype(dtype).name), None, {}, data=False)
        return rows, h.astype(dtype)


@dataclass(frozen=True)
class RandomRows:
    """The step that draws the rows of one block."""

    scale: float
    rank: int
    seed: int
    dtype: str

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """{"w": (rows, rank)}, and no statistics."""
        del rows, shared
        lo, hi = x.first, x.first + x.shape[0]
        chunks = range(lo // CHUNK, (hi - 1) // CHUNK + 1)
        drawn = np.concatenate([self._chunk(c) for c in chunks])
        w = drawn[lo - chunks.start * CHUNK : hi - chunks.start * CHUNK]
        return {"w": (self.scale * np.abs(w)).astype(self.dtype)}, ()

    def _chunk(self, index: int) -> Array:
        return np.random.default_rng([self.seed, 0, index]).standard_normal((CHUNK, self.rank))
