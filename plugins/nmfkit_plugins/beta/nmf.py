"""The plain model X ≈ W H."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.lowrank import LowRank
from nmfkit.probe import Probe
from nmfkit.protocols import Ingredients, Initializer, Moment, Penalty, Rows, RowStore, Shared, Stats, Sweep, Term

CANCELS = 10_000
"""A loss below so many roundings of its constant part is summed up from residuals, not as a difference."""

FLOOR = 1e-16
"""Entries that a rule cannot let reach zero are kept at this fraction of the factors' scale."""


@dataclass(frozen=True)
class NMF:
    """min Σ d(x, (WH)) + regularizers of W and of H, over W (m, r) ≥ 0 and H (r, n) ≥ 0.

    One read of X a sweep: on each block the rows of W are updated with the present H, and what the update of H
    needs is gathered with the new rows while the block is at hand.
    """

    parts: Ingredients

    takes: ClassVar[frozenset[str]] = frozenset({"loss", "rule", "reg-w", "reg-h", "init"})
    row_factors: ClassVar[tuple[str, ...]] = ("w",)

    @property
    def elementwise(self) -> bool:
        """As the rule."""
        return bool(self.parts.rule.elementwise)

    @property
    def forms_product(self) -> bool:
        """Whether the loss needs ŷ where a sparse X stores nothing."""
        return not self.parts.loss.pattern_only

    def misfits(self) -> Sequence[str]:
        """One rank is all it takes."""
        ranks = self.parts.ranks
        return [f"model 'nmf' takes one rank, and {len(ranks)} are given"] if len(ranks) != 1 else []

    def start(
        self, initializer: Initializer, sweep: Sweep, probe: Probe, seed: int, dtype: Any
    ) -> tuple[RowStore, Shared]:
        """Starting factors, lifted to the floor if the rule cannot leave zero."""
        rank = self.parts.ranks[0]
        floor = max(FLOOR * math.sqrt(probe.mean / rank), float(np.finfo(dtype).tiny))
        rows, h = initializer.start(sweep, probe, rank, seed, dtype)
        rows, stats = sweep(self.admit, rows, {"floor": floor}, data=False)
        shared = {"h": self._lift(h.astype(dtype), floor), "floor": floor, "sweep": 0}
        shared |= {"constant": None, "from_residuals": False}
        return rows, self._with_prepared(shared, stats["w.stats"])

    def admit(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """Starting rows made feasible, and the statistics of their regularizers."""
        del x
        w = self._lift(rows["w"], shared["floor"])
        return {"w": w}, {"w.stats": tuple(part.stat(w) for part in self.parts.reg_w)}

    def local(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """New rows of W on one block, and the statistics for H, for the regularizers of W, and of the loss."""
        loss, rule = self.parts.loss, self.parts.rule
        w, h = rows["w"], shared["h"]
        prepared = shared["w.prepared"]
        gathered = rule.gather(Term(loss, x, LowRank(w, h), h.T))
        penalty = Penalty(self.parts.reg_w, shared["w.stats"])
        w = rule.update(w, loss, prepared, gathered, penalty, self._moment(shared)).astype(w.dtype, copy=False)
        y = LowRank(w, h)
        if shared["from_residuals"]:
            value = loss.value(x, y)
        else:
            value = rule.value(Term(loss, x, y, h.T), w, prepared, gathered)
        stats = {
            "value": value,
            "w.stats": tuple(part.stat(w) for part in self.parts.reg_w),
            "h.prepared": rule.prepare(loss, w),
            "h.gathered": rule.gather(Term(loss, x, y, w, turned=True)),
        }
        if shared["constant"] is None:
            stats["constant"] = rule.constant(loss, x)
        return {"w": w}, stats

    def apply(self, shared: Shared, stats: Stats) -> Shared:
        """The new H from the sums over all blocks."""
        rule, f = self.parts.rule, shared["h"].T
        penalty = Penalty(self.parts.reg_h, tuple(part.stat(f) for part in self.parts.reg_h))
        f = rule.update(f, self.parts.loss, stats["h.prepared"], stats["h.gathered"], penalty, self._moment(shared))
        h = np.ascontiguousarray(f.T.astype(shared["h"].dtype, copy=False), like=f)
        constant, loss = self._constant(shared, stats), self._loss(shared, stats)
        cancels = loss < CANCELS * float(np.finfo(h.dtype).eps) * constant
        following = {**shared, "h": h, "sweep": shared["sweep"] + 1, "constant": constant}
        following["from_residuals"] = shared["from_residuals"] or cancels
        return self._with_prepared(following, stats["w.stats"])

    def objective(self, shared: Shared, stats: Stats) -> float:
        """Loss and regularizers of the new W and the H that it was fitted to."""
        ht = shared["h"].T
        w_penalty = sum(p.value(s) for p, s in zip(self.parts.reg_w, stats["w.stats"], strict=True))
        h_penalty = sum(p.value(p.stat(ht)) for p in self.parts.reg_h)
        return self._loss(shared, stats) + float(w_penalty + h_penalty)

    def encode(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """Rows of W for new data on the fixed H: the W half of a sweep, repeated while the block is at hand."""
        del rows
        loss, rule, h = self.parts.loss, self.parts.rule, shared["h"]
        moment, prepared = self._moment(shared), shared["w.prepared"]
        w = self._flat_start(x, h)
        penalty = Penalty(self.parts.reg_w, shared["w.stats"])
        gathered, moving = None, w[:, :1] >= 0
        for _ in range(shared["encode.sweeps"]):
            if gathered is None or not rule.gathers_once:
                gathered = rule.gather(Term(loss, x, LowRank(w, h), h.T))
            new = rule.update(w, loss, prepared, gathered, penalty, moment).astype(w.dtype, copy=False)
            # A row that has settled stays as it is, whatever its neighbours in the block still do.
            new = np.where(moving, new, w)
            change = np.max(np.abs(new - w), axis=1, keepdims=True)
            w, moving = new, moving & (change > shared["encode.tol"] * np.max(new, axis=1, keepdims=True))
            if not bool(np.any(moving)):
                break
        return {"w": w}, {"value": float(loss.value(x, LowRank(w, h)))}

    def factors(self, shared: Shared) -> dict[str, Array]:
        """{"h": (r, n)}."""
        return {"h": shared["h"]}

    def _flat_start(self, x: Block, h: Array) -> Array:
        """Every component alike, at the scale that gives each row its own sum."""
        ones = np.ones_like(h, shape=(x.shape[1], 1))
        mass = x.dot(ones) / max(float(np.sum(h, dtype=np.float64)), float(np.finfo(h.dtype).tiny))
        w: Array = np.maximum(mass * np.ones_like(h[:, 0]), np.finfo(h.dtype).tiny)
        return w

    def _lift(self, f: Array, floor: float) -> Array:
        lifted: Array = np.maximum(f, floor if self.parts.rule.traps_zeros else 0)
        return lifted

    def _loss(self, shared: Shared, stats: Stats) -> float:
        constant = 0.0 if shared["from_residuals"] else self._constant(shared, stats)
        return float(stats["value"]) + constant

    def _moment(self, shared: Shared) -> Moment:
        return Moment(shared["floor"], shared["sweep"])

    def _constant(self, shared: Shared, stats: Stats) -> float:
        known: float | None = shared["constant"]
        return float(stats["constant"]) if known is None else known

    def _with_prepared(self, shared: Shared, w_stats: Stats) -> Shared:
        prepared = self.parts.rule.prepare(self.parts.loss, shared["h"].T)
        return {**shared, "w.stats": w_stats, "w.prepared": prepared}
