"""Whole sweeps of the plain model: every block with the same H, then a new H from the sums over all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.lowrank import LowRank
from nmfkit.pace import Pace, rose
from nmfkit.probe import Probe
from nmfkit.protocols import (
    Extrapolates,
    HasJoint,
    HasSums,
    Ingredients,
    Meeting,
    Moment,
    Penalty,
    Rows,
    RowStore,
    Shared,
    Stats,
    StepsJointly,
    Sweep,
    Term,
    UpdatesRows,
)
from nmfkit.scaled import Scaled
from nmfkit_plugins.beta.calibration import acting

CANCELS = 10_000
"""A loss below so many roundings of its constant part is summed up from residuals, not as a difference."""

FLOOR = 1e-16
"""Entries that a rule cannot let reach zero are kept at this fraction of the factors' scale."""


@dataclass(frozen=True)
class WholeSweeps:
    """What a sweep of the plain model does on a block and with the sums; see `NMF`."""

    parts: Ingredients

    @property
    def row_factors(self) -> tuple[str, ...]:
        """W; with a rule that extrapolates also the points that it goes on from."""
        return ("w", *(("w.plain",) if self._joint else ()), *(("w.ahead",) if self._extrapolates else ()))

    @property
    def elementwise(self) -> bool:
        """As the rule."""
        return bool(self.parts.rule.elementwise)

    @property
    def forms_product(self) -> bool:
        """Whether the loss needs ŷ where a sparse X stores nothing."""
        return not self.parts.loss.pattern_only

    @cached_property
    def _extrapolates(self) -> bool:
        return isinstance(self.parts.rule, Extrapolates) and self.parts.rule.extrapolate

    @cached_property
    def _sees_rows(self) -> bool:
        return isinstance(self.parts.rule, UpdatesRows)

    @cached_property
    def _joint(self) -> bool:
        rule, sums = self.parts.rule, sums_of(self.parts.reg_w)
        jointly = isinstance(rule, StepsJointly) and rule.joint and isinstance(self.parts.loss, HasJoint)
        # The point ahead is what counts then, and a block of its rows does not know the sums of its columns.
        return jointly and (sums is None or sums.across)

    # --- starting -------------------------------------------------------------------------------------------

    def _begun(self, rows: RowStore, h: Array, sweep: Sweep, probe: Probe, whole: int) -> tuple[RowStore, Shared]:
        floor = max(FLOOR * math.sqrt(probe.mean / len(h)), float(np.finfo(h.dtype).tiny))
        h, scale = self._to_sums(rows, self._lift(h, floor), floor, sweep)
        rows, stats = sweep(self.admit, rows, {"floor": floor, "scale": scale}, data=False)
        shared = {"h": h, "h.plain": h, "h.last": h, "floor": floor, "sweep": 0, "pace": Pace().as_dict()}
        shared |= {"constant": None, "from_residuals": False, "last": None, "whole": whole}
        shared |= {"rows": probe.shape[0], "settled": False}
        return rows, self._with_prepared(shared, stats["w.stats"], stats["w.stats"])

    def _to_sums(self, rows: RowStore, h: Array, floor: float, sweep: Sweep) -> tuple[Array, Array | None]:
        """H with the sums asked for, and what the columns of W are multiplied by so that the product stays."""
        of_w, of_h, scale = sums_of(self.parts.reg_w), sums_of(self.parts.reg_h), None
        if of_w is not None and not of_w.across:
            _, stats = sweep(self.column_sums, rows, {"floor": floor}, data=False)
            scale = of_w.total / above_zero(stats["sums"])
        elif of_h is not None and not of_h.across:
            sums: Any = np.sum(h, axis=1, dtype=np.float64)
            scale = above_zero(sums) / of_h.total
        if scale is not None:
            h = (h / scale[:, None]).astype(h.dtype, copy=False)
        return h if of_h is None else as_h(of_h.onto(h.T)), scale

    def column_sums(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """The sums of the columns of the starting W."""
        del x
        return {}, {"sums": np.sum(self._lift(rows["w"], shared["floor"]), axis=0, dtype=np.float64)}

    def admit(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """Starting rows made feasible, and the statistics of their regularizers."""
        del x
        w, scale, sums = self._lift(rows["w"], shared["floor"]), shared["scale"], sums_of(self.parts.reg_w)
        if scale is not None:
            w = (w * scale).astype(w.dtype, copy=False)
        if sums is not None and sums.across:
            w = sums.onto(w)
        return dict.fromkeys(self.row_factors, w), {"w.stats": self._w_stats(w)}

    # --- sweeping -------------------------------------------------------------------------------------------

    def local(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """New rows of W on one block, and the statistics for H, for the regularizers of W, and of the loss."""
        new, stats = (self._both_at_once if self._joint else self._in_turn)(x, rows, shared)
        if self._extrapolates:
            plain = "w.plain" if self._joint else "w"
            new["w.ahead"] = self._ahead(new[plain], rows[plain], shared, self.parts.reg_w)
            stats["ahead.stats"] = self._w_stats(new["w.ahead"])
        if shared["constant"] is None:
            stats["constant"] = self.parts.rule.constant(self.parts.loss, x)
        return new, stats

    def _in_turn(self, x: Block, rows: Rows, shared: Shared, visits: int = 1) -> tuple[Rows, dict[str, Stats]]:
        loss, rule = self.parts.loss, self.parts.rule
        w, gathered = self._stepped(x, rows, shared, visits)
        here = Meeting(loss, x, LowRank(w, shared["h"]), right=True)
        # First what takes the look at ŷ: the value then comes with it.
        for_h = rule.gather(Term.of(here, turned=True))
        return {"w": w}, {
            "value": self._value(here, w, gathered, shared),
            "w.stats": self._w_stats(w),
            "h.prepared": rule.prepare(loss, w),
            "h.gathered": for_h,
        }

    def _stepped(self, x: Block, rows: Rows, shared: Shared, visits: int) -> tuple[Array, Stats]:
        """The new rows of a block, and what was gathered for them."""
        return self._visited(x, self._base(rows, shared), shared, visits)

    def _visited(self, x: Block, w: Array, shared: Shared, visits: int) -> tuple[Array, Stats]:
        """The rows `w` updated so many times with the present H, and what was gathered last."""
        loss, rule, h, gathered = self.parts.loss, self.parts.rule, shared["h"], None
        for _ in range(visits):
            term = Term.of(Meeting(loss, x, LowRank(w, h), left=True))
            if self._sees_rows:
                penalty, moment = self._w_penalty(shared), self._moment(shared, x.whole)
                w = rule.update_rows(w, term, shared["w.prepared"], penalty, moment)
                continue
            if gathered is None or not rule.gathers_once:
                gathered = rule.gather(term)
            w = self._updated(x, w, shared["w.prepared"], gathered, shared)
        return w, gathered

    def _value(self, here: Meeting, w: Array, gathered: Stats, shared: Shared) -> float:
        loss, rule = here.loss, self.parts.rule
        value: float = (
            loss.value(here.x, here.y)
            if shared["from_residuals"]
            else rule.value(Term.of(here), w, shared["w.prepared"], gathered)
        )
        return value

    def _both_at_once(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, dict[str, Stats]]:
        loss, rule, h = self.parts.loss, self.parts.rule, shared["h"]
        base, prepared = self._base(rows, shared), shared["w.prepared"]
        here = Meeting(loss, x, LowRank(base, h), left=True, right=True)
        gathered, for_h = rule.gather(Term.of(here)), rule.gather(Term.of(here, turned=True))
        w = self._updated(x, base, prepared, gathered, shared)
        return {"w": base, "w.plain": w}, {
            "value": rule.value(Term.of(here), base, prepared, gathered),
            "w.stats": self._w_stats(base),
            "h.prepared": rule.prepare(loss, w),
            "h.gathered": rule.moved(for_h, Term.of(Meeting(loss, x, LowRank(w, h)), turned=True)),
        }

    def _base(self, rows: Rows, shared: Shared) -> Array:
        """Where the update of W starts."""
        if Pace.of(shared).restart:
            return rows["w"]
        return rows[self.row_factors[-1]]

    def _updated(self, x: Block, base: Array, prepared: Stats, gathered: Stats, shared: Shared) -> Array:
        penalty, moment = self._w_penalty(shared), self._moment(shared, x.whole)
        new = self.parts.rule.update(base, self.parts.loss, prepared, gathered, penalty, moment)
        w: Array = new.astype(base.dtype, copy=False)
        return w

    def _w_penalty(self, shared: Shared) -> Penalty:
        """The regularizers of W with their statistics where its update starts."""
        stats = shared["w.stats" if Pace.of(shared).restart or not self._extrapolates else "ahead.stats"]
        return penalty_of(self.regularizers(shared)[0], stats)

    def _h_penalty(self, shared: Shared) -> Penalty:
        return penalty_of(self.regularizers(shared)[1], self._h_stats(shared["h"].T))

    def _ahead(self, new: Array, past: Array, shared: Shared, parts: tuple[Any, ...]) -> Array:
        """The point from which the next update starts; a factor like any other as far as its sums are known here."""
        ahead: Array = self.parts.rule.ahead(new, past, Pace.of(shared).weight)
        sums = sums_of(parts)
        whole = parts is self.parts.reg_h
        return ahead if sums is None or not (whole or sums.across) else sums.onto(ahead)

    def apply(self, shared: Shared, stats: Stats) -> Shared:
        """The new H from the sums over all blocks."""
        rule, f, penalty = self.parts.rule, shared["h"].T, self._h_penalty(shared)
        new = rule.update(
            f, self.parts.loss, stats["h.prepared"], stats["h.gathered"], penalty, self._moment(shared, shared["whole"])
        ).astype(f.dtype, copy=False)
        constant, objective = self._constant(shared, stats), self.objective(shared, stats)
        cancels = self._cancels(shared, self.loss(shared, stats), constant)
        # Where the next objective has nothing to be compared with, its sweep takes sure steps from what counts.
        goes_ahead = self._extrapolates and not cancels
        ahead = self._ahead(new, shared["h.plain"].T, shared, self.parts.reg_h) if goes_ahead else new
        following = {
            **shared,
            "h": as_h(ahead),
            "h.plain": as_h(new),
            "h.last": shared["h"],
            "sweep": shared["sweep"] + 1,
            "pace": (Pace(calm=1) if cancels else Pace.of(shared).onward()).as_dict(),
            "constant": constant,
            # A sum of residuals is not to be compared with a difference of large numbers.
            "last": None if cancels else objective,
            "from_residuals": shared["from_residuals"] or cancels,
        }
        return self._with_prepared(following, stats["w.stats"], stats.get("ahead.stats"))

    def refused(self, shared: Shared, objective: float) -> Shared | None:
        """The pair that was recorded last, to step on from safely; None where `objective` is no rise."""
        last = shared["last"]
        scale = 0.0 if shared["from_residuals"] else shared["constant"]
        if not self._extrapolates or last is None:
            return None
        pace = Pace.of(shared)
        if pace.restart and pace.safe and math.isfinite(objective) and self.parts.rule.monotone:
            return None  # a step from the pair that counts, and a sure one: what has risen is rounding
        if not rose(objective, last, scale, float(np.finfo(shared["h"].dtype).eps)):
            return None
        h = shared["h.last"]
        back = {**shared, "h": h, "h.plain": h, "pace": Pace.of(shared).back().as_dict()}
        return self._with_prepared(back, shared["w.stats"], shared["ahead.stats"])

    def objective(self, shared: Shared, stats: Stats) -> float:
        """Loss and regularizers of the new W and the H that it was fitted to."""
        return self.loss(shared, stats) + self._penalties(shared, stats["w.stats"])

    def loss(self, shared: Shared, stats: Stats) -> float:
        """The loss of the new W and the H that it was fitted to."""
        constant = 0.0 if shared["from_residuals"] else self._constant(shared, stats)
        return float(stats["value"]) + constant

    # --- regularizers and small parts -----------------------------------------------------------------------

    def regularizers(self, shared: Shared) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Those of W and of H as they act: times what was measured at the start, where their weight is relative."""
        factors = shared.get("weights") or {"w": None, "h": None}
        return acting(self.parts.reg_w, factors["w"]), acting(self.parts.reg_h, factors["h"])

    def begun_at(self, shared: Shared, h: Array, weights: Shared, w_stats: Stats) -> Shared:
        """`shared` for a fit that begins with `h`, rows of these statistics and these weights of the regularizers."""
        begun = {**shared, "h": h, "h.plain": h, "h.last": h, "weights": weights, "pace": Pace().as_dict()}
        return self._with_prepared({**begun, "last": None}, w_stats, w_stats)

    def _lift(self, f: Array, floor: float) -> Array:
        lifted: Array = np.maximum(f, floor if self.parts.rule.traps_zeros else 0)
        return lifted

    def _penalties(self, shared: Shared, w_stats: Stats) -> float:
        reg_w, reg_h = self.regularizers(shared)
        w_penalty = sum(p.value(s) for p, s in zip(reg_w, w_stats, strict=True))
        h_penalty = sum(p.value(s) for p, s in zip(reg_h, self._h_stats(shared["h"].T), strict=True))
        return float(w_penalty + h_penalty)

    def _cancels(self, shared: Shared, loss: float, constant: float) -> bool:
        """Whether `loss` is too small a difference from `constant` from now on."""
        least = CANCELS * float(np.finfo(shared["h"].dtype).eps) * constant
        return constant > 0 and not shared["from_residuals"] and loss < least

    def _moment(self, shared: Shared, whole: int = 0) -> Moment:
        return Moment(shared["floor"], shared["sweep"], not self._extrapolates or Pace.of(shared).safe, whole)

    def _constant(self, shared: Shared, stats: Stats) -> float:
        known: float | None = shared["constant"]
        return float(stats["constant"]) if known is None else known

    def _w_stats(self, w: Array) -> tuple[Stats, ...]:
        return tuple(part.stat(w) for part in self.parts.reg_w)

    def _h_stats(self, f: Array) -> tuple[Stats, ...]:
        return tuple(part.stat(f) for part in self.parts.reg_h)

    def _with_prepared(self, shared: Shared, w_stats: Stats, ahead_stats: Stats) -> Shared:
        prepared = self.parts.rule.prepare(self.parts.loss, shared["h"].T)
        return {**shared, "w.stats": w_stats, "ahead.stats": ahead_stats, "w.prepared": prepared}


def sums_of(parts: Sequence[Any]) -> HasSums | None:
    """The constraint among the regularizers of a factor."""
    return next((part for part in parts if isinstance(part, HasSums)), None)


def penalty_of(parts: Sequence[Any], stats: Sequence[Stats]) -> Penalty:
    """Those that count anything."""
    known = [(p, s) for p, s in zip(parts, stats, strict=True) if not (isinstance(p, Scaled) and p.factor == 0)]
    return Penalty(tuple(p for p, _ in known), tuple(s for _, s in known))


def above_zero(sums: Array) -> Array:
    """Sums to divide by: 1 where there is nothing."""
    filled: Array = np.where(sums > 0, sums, np.ones_like(sums))
    return filled


def as_h(f: Array) -> Array:
    """Hᵀ (n, r) as H (r, n), rows contiguous."""
    h: Array = np.ascontiguousarray(f.T, like=f)
    return h
