"""Successive projection: the samples that lie furthest out, one read of X for each (Araújo et al., 2001)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit import kernels
from nmfkit.blocks import Array, Block
from nmfkit.probe import Probe
from nmfkit.protocols import Rows, RowStore, Shared, Stats, Sweep
from nmfkit.stats import Least

SCALINGS = ("auto", "sum", "none")
"""What samples are divided by before they are compared."""

ROUNDING = 64
"""Samples within so many roundings of the span of those chosen, in squares, lie in it."""


@dataclass(frozen=True)
class SPA:
    """H of `rank` samples, each the furthest from the span of those before; W by nonnegative least squares.

    Where every component has a sample of its own, or nearly, these are the components, up to noise (Gillis & Vavasis,
    IEEE TPAMI 36(4), 2014). X is read `rank` + 1 times, and the start does not depend on the seed. Samples beyond the
    rank of X are there none: the remaining rows of H are drawn, half-normal at the size of the data.

    Samples are compared after division by the sum of their entries' sizes, so that those of any length are mixtures
    with weights that sum to 1. Where X has negative entries that would be no linear measure, and samples are taken as
    they are (`scale` "auto"): then their weights should have about the same sum. "sum" and "none" always do the one or
    the other. Of samples equally far out the first one is taken, and those that are all zero never.
    """

    scale: str = "auto"

    makes_zeros: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.scale not in SCALINGS:
            raise ValueError(f"scale must be one of {', '.join(SCALINGS)}, not {self.scale!r}")

    def start(self, sweep: Sweep, probe: Probe, rank: int, seed: int, dtype: Any) -> tuple[RowStore, Array]:
        """Rows {"w": (rows, rank)} and H (rank, n), which has negative entries only where X has."""
        chosen = self._samples(sweep, probe, rank, dtype)
        drawn = np.random.default_rng([seed, 1]).standard_normal((rank - len(chosen), probe.shape[1]))
        h = np.concatenate([chosen, probe.mean * np.abs(drawn)])
        rows, _ = sweep(coded, None, {"h": h.astype(dtype), "gram": h @ h.T})
        return rows, h.astype(dtype)

    def _samples(self, sweep: Sweep, probe: Probe, rank: int, dtype: Any) -> Array:
        """The chosen samples (k, n) as they are in X, k ≤ `rank`."""
        divides = self.scale == "sum" or (self.scale == "auto" and probe.low >= 0)
        rows, stats = sweep(measured, None, {"divides": divides})
        least = ROUNDING * float(np.finfo(dtype).eps) * _length(stats)
        chosen, q = [stats["furthest"].beside], np.zeros((probe.shape[1], 0))
        while len(chosen) < rank:
            q = _with_direction(q, chosen[-1][0])
            rows, stats = sweep(shortened, rows, {"direction": q[:, -1:].astype(dtype)})
            if _length(stats) <= least:
                break
            chosen.append(stats["furthest"].beside)
        return np.concatenate(chosen)


def measured(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """The squared lengths of the block's scaled rows, 0 for those that are all zero, and the row of the largest."""
    del rows
    v = x.values
    one = np.ones_like(v, shape=(x.shape[1], 1))
    sizes = x.like(np.abs(v)).dot(one)
    there = sizes > 0
    scale = np.ones_like(sizes)
    if shared["divides"]:
        scale = scale / np.where(there, sizes, scale)
    return _furthest(x, scale, np.where(there, x.like(np.square(v)).dot(one) * scale * scale, np.zeros_like(scale)))


def shortened(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """Those lengths without their part along one more direction (n, 1), orthogonal to the earlier ones."""
    along = x.dot(shared["direction"]) * rows["scale"]
    return _furthest(x, rows["scale"], np.maximum(rows["squares"] - along * along, 0))


def _furthest(x: Block, scale: Array, squares: Array) -> tuple[Rows, Stats]:
    at = int(np.argmax(squares[:, 0]))
    sample = x.rows(at, at + 1).dense().astype(np.float64)
    longest = squares[at : at + 1].astype(np.float64)
    return {"scale": scale, "squares": squares}, {"furthest": Least(-longest, sample)}


def coded(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """Rows of W for H, by nonnegative least squares."""
    del rows
    return {"w": kernels.nnls(shared["gram"], x.dot(shared["h"].T), whole=x.whole)}, ()


def _length(stats: Stats) -> float:
    return -float(stats["furthest"].value[0, 0])


def _with_direction(q: Array, sample: Array) -> Array:
    """`q` (n, k) and the direction in which `sample` (n,) leaves its span, orthogonal to working precision."""
    rest = sample / np.linalg.norm(sample)
    for _ in range(2):
        rest = rest - q @ (q.T @ rest)
        rest = rest / np.linalg.norm(rest)
    return np.hstack([q, rest[:, None]])
