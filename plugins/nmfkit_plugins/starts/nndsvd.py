"""NNDSVD (Boutsidis & Gallopoulos, Pattern Recognition 41(4), 2008) by a few sweeps, for data of any size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.probe import Probe
from nmfkit.protocols import Rows, RowStore, Shared, Stats, Sweep
from nmfkit.sketch import covariance_product, directions
from nmfkit_plugins.starts.random import RandomRows

OVERSAMPLE = 8
"""Extra directions of the subspace iteration (Halko, Martinsson & Tropp, SIAM Review 53(2), 2011)."""

FILLS = ("none", "small", "mean", "random")
"""What zeros are replaced by."""


@dataclass(frozen=True)
class NNDSVD:
    """The heavier of the positive and negative parts of each singular pair, from `power` + 2 reads of X.

    `fill` replaces zeros: by a tenth of the random start's scale (`small`, as `nndsvda` does), by the mean entry of X
    (`mean`), or by half-normal numbers of a hundredth of that mean (`random`). Components beyond the rank of X are
    constant at the first of these.
    """

    fill: str = "none"
    power: int = 4

    @property
    def makes_zeros(self) -> bool:
        """Whether exact zeros are left in the start."""
        return self.fill == "none"

    def __post_init__(self) -> None:
        if self.fill not in FILLS:
            raise ValueError(f"fill must be one of {', '.join(FILLS)}, not {self.fill!r}")
        if self.power < 1:
            raise ValueError(f"power must be at least 1, not {self.power}")

    def start(self, sweep: Sweep, probe: Probe, rank: int, seed: int, dtype: Any) -> tuple[RowStore, Array]:
        """Rows {"w": (rows, rank)} and H (rank, n)."""
        s, v = self._singular_pairs(sweep, probe, rank, seed)
        rows, parts = sweep(left_vectors, None, {"v": v / s})
        signs, scale = _heavier_parts(s, v, parts)
        beyond = 0.1 * math.sqrt(probe.mean / rank)
        h = np.full((rank, probe.shape[1]), beyond)
        h[: len(s)] = (np.maximum(v * signs, 0) * scale["h"]).T
        level = {"none": 0.0, "small": beyond, "mean": probe.mean, "random": probe.mean / 100}[self.fill]
        if self.fill == "random":
            drawn = np.abs(np.random.default_rng([seed, 1]).standard_normal(h.shape))
            h = np.where(h > 0, h, level * drawn)
        elif self.fill != "none":
            h[h == 0] = level
        shared = {"signs": signs, "scale": scale["w"], "rank": rank, "beyond": beyond, "level": level}
        step = NonnegativeRows(RandomRows(level, rank, seed, "float64") if self.fill == "random" else None)
        rows, _ = sweep(step, rows, {**shared, "dtype": np.dtype(dtype).name}, data=False)
        return rows, h.astype(dtype)

    def _singular_pairs(self, sweep: Sweep, probe: Probe, rank: int, seed: int) -> tuple[Array, Array]:
        """The leading singular values (k,) and right vectors (n, k), by subspace iteration on XᵀX."""
        m, n = probe.shape
        width = min(rank + OVERSAMPLE, m, n)
        v = directions(sweep, np.random.default_rng([seed, 2]).standard_normal((n, width)), self.power)
        _, stats = sweep(covariance_product, None, {"v": v})
        squares, rotation = np.linalg.eigh(v.T @ stats["xtxv"])
        order = np.argsort(squares)[::-1][: min(rank, width)]
        kept = order[squares[order] > squares[order[0]] * np.finfo(np.float64).eps * max(m, n)]
        return np.sqrt(squares[kept]), v @ rotation[:, kept]


def left_vectors(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """The block's rows of U = X V / s, and the squared norms of its positive and negative parts."""
    del rows
    u = x.dot(shared["v"])
    positive, negative = np.maximum(u, 0), np.maximum(-u, 0)
    return {"u": u}, {"pos": np.sum(positive**2, axis=0), "neg": np.sum(negative**2, axis=0)}


@dataclass(frozen=True)
class NonnegativeRows:
    """The step that makes rows of W from rows of U; `drawn` draws what stands in place of zeros."""

    drawn: RandomRows | None

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """{"w": (rows, rank)} from the block's rows of U."""
        u = rows["u"]
        w = np.full_like(u, shared["beyond"], shape=(len(u), shared["rank"]), dtype=np.float64)
        w[:, : u.shape[1]] = np.maximum(u * shared["signs"], 0) * shared["scale"]
        level = shared["level"] if self.drawn is None else np.asarray(self.drawn(x, {}, {})[0]["w"], like=u)
        return {"w": np.where(w > 0, w, level).astype(shared["dtype"])}, ()


def _heavier_parts(s: Array, v: Array, parts: Stats) -> tuple[Array, dict[str, Array]]:
    """For each pair the sign of its heavier part, and the factors' scales √(s σ) / ‖part‖."""
    u_pos, u_neg = np.sqrt(parts["pos"]), np.sqrt(parts["neg"])
    v_pos = np.linalg.norm(np.maximum(v, 0), axis=0)
    v_neg = np.linalg.norm(np.maximum(-v, 0), axis=0)
    signs = np.where(u_pos * v_pos >= u_neg * v_neg, 1.0, -1.0)
    u_norm = np.where(signs > 0, u_pos, u_neg)
    v_norm = np.where(signs > 0, v_pos, v_neg)
    mass = np.sqrt(s * u_norm * v_norm)
    tiny = np.finfo(np.float64).tiny
    return signs, {"w": mass / np.maximum(u_norm, tiny), "h": mass / np.maximum(v_norm, tiny)}
