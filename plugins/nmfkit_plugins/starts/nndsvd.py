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

OVERSAMPLE = 8
"""Extra directions of the subspace iteration (Halko, Martinsson & Tropp, SIAM Review 53(2), 2011)."""


@dataclass(frozen=True)
class NNDSVD:
    """The heavier of the positive and negative parts of each singular pair, from `power` + 2 reads of X.

    `fill` replaces zeros by a tenth of the random start's scale (`nndsvda`). Components beyond the rank of X
    are constant at that scale.
    """

    fill: bool = False
    power: int = 4

    @property
    def makes_zeros(self) -> bool:
        """Whether exact zeros are left in the start."""
        return not self.fill

    def __post_init__(self) -> None:
        if self.power < 1:
            raise ValueError(f"power must be at least 1, not {self.power}")

    def start(self, sweep: Sweep, probe: Probe, rank: int, seed: int, dtype: Any) -> tuple[RowStore, Array]:
        """Rows {"w": (rows, rank)} and H (rank, n)."""
        s, v = self._singular_pairs(sweep, probe, rank, seed)
        rows, parts = sweep(left_vectors, None, {"v": v / s})
        signs, scale = _heavier_parts(s, v, parts)
        fill = 0.1 * math.sqrt(probe.mean / rank)
        h = np.full((rank, probe.shape[1]), fill)
        h[: len(s)] = (np.maximum(v * signs, 0) * scale["h"]).T
        if self.fill:
            h[h == 0] = fill
        shared = {"signs": signs, "scale": scale["w"], "rank": rank, "fill": fill, "all": self.fill}
        rows, _ = sweep(nonnegative_rows, rows, {**shared, "dtype": np.dtype(dtype).name}, data=False)
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


def nonnegative_rows(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """{"w": (rows, rank)} from the block's rows of U."""
    del x
    u = rows["u"]
    w = np.full((len(u), shared["rank"]), shared["fill"])
    w[:, : u.shape[1]] = np.maximum(u * shared["signs"], 0) * shared["scale"]
    if shared["all"]:
        w[w == 0] = shared["fill"]
    return {"w": w.astype(shared["dtype"])}, ()


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
