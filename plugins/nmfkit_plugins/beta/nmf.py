"""The plain model X ≈ W H."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.lowrank import LowRank
from nmfkit.pace import Pace, rose
from nmfkit.probe import Probe
from nmfkit.protocols import (
    Extrapolates,
    HasJoint,
    Incremental,
    Ingredients,
    Initializer,
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
from nmfkit.stats import times
from nmfkit_plugins.beta.encoding import encoded

CANCELS = 10_000
"""A loss below so many roundings of its constant part is summed up from residuals, not as a difference."""

FLOOR = 1e-16
"""Entries that a rule cannot let reach zero are kept at this fraction of the factors' scale."""

SLOW = 1e-4
"""A sweep that lowers the bound by less than this fraction is the last one in which groups fade."""

UNDER_WAY = 8.0
"""Where Nesterov's sequence begins for factors that come from an earlier fit."""

CARRIED, CARRIED_TOL = 8, 1e-2
"""Updates of the rows of W for an H from elsewhere, and the change of a row below which it needs no more."""


@dataclass(frozen=True)
class NMF:
    """min Σ d(x, (WH)) + regularizers of W and of H, over W (m, r) ≥ 0 and H (r, n) ≥ 0.

    One read of X a sweep. Factors take their turns: on each block the rows of W are updated with the present H, and
    what the update of H needs is gathered with the new rows while the block is at hand. Or, where rule and loss allow
    it, both are updated from the same ŷ.

    A rule that extrapolates starts each update from a point ahead of the factor. The pair whose objective is known
    and recorded is what counts: (new W, H from ahead) in turns, the point ahead itself where both step at once. A
    sweep that ends above the one before is undone, and the next one steps from the pair that counts, safely. So the
    objective never rises, whatever the rule tries.

    With an incremental rule, H is renewed after each group of blocks, from what all groups have left: a majoriser for
    H each, and how far it lies from the loss. Until all have been seen, those that have stand for the others; later,
    those seen lately count more, until a sweep ends above the one before, which is then undone.
    """

    parts: Ingredients

    takes: ClassVar[frozenset[str]] = frozenset({"loss", "rule", "reg-w", "reg-h", "init"})

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
    def groups(self) -> int:
        """As many as an incremental rule has parts."""
        rule = self.parts.rule
        return rule.parts if isinstance(rule, Incremental) else 0

    @cached_property
    def _extrapolates(self) -> bool:
        return isinstance(self.parts.rule, Extrapolates) and self.parts.rule.extrapolate

    @cached_property
    def _sees_rows(self) -> bool:
        return isinstance(self.parts.rule, UpdatesRows)

    @cached_property
    def _joint(self) -> bool:
        rule = self.parts.rule
        return isinstance(rule, StepsJointly) and rule.joint and isinstance(self.parts.loss, HasJoint)

    def misfits(self) -> Sequence[str]:
        """One rank is all it takes."""
        ranks = self.parts.ranks
        return [f"model 'nmf' takes one rank, and {len(ranks)} are given"] if len(ranks) != 1 else []

    # --- starting -------------------------------------------------------------------------------------------

    def start(
        self, initializer: Initializer, sweep: Sweep, probe: Probe, seed: int, dtype: Any
    ) -> tuple[RowStore, Shared]:
        """Starting factors, lifted to the floor if the rule cannot leave zero."""
        rank = self.parts.ranks[0]
        rows, h = initializer.start(sweep, probe, rank, seed, dtype)
        return self._begun(rows, h.astype(dtype), sweep, probe, probe.shape[0])

    def carry(self, shared: Shared, sweep: Sweep, probe: Probe, dtype: Any, whole: int) -> tuple[RowStore, Shared]:
        """Rows fitted to the H of `shared`, and a state to begin with."""
        rows, _ = sweep(self.encode, None, {**shared, "encode.sweeps": CARRIED, "encode.tol": CARRIED_TOL})
        rows, start = self._begun(rows, shared["h"].astype(dtype), sweep, probe, whole)
        # Exact steps are long already; short ones may begin at the pace that a fit under way has.
        pace = Pace() if self.parts.rule.gathers_once else Pace(t=UNDER_WAY)
        return rows, {**start, "sweep": shared["sweep"], "pace": pace.as_dict()}

    def _begun(self, rows: RowStore, h: Array, sweep: Sweep, probe: Probe, whole: int) -> tuple[RowStore, Shared]:
        floor = max(FLOOR * math.sqrt(probe.mean / len(h)), float(np.finfo(h.dtype).tiny))
        rows, stats = sweep(self.admit, rows, {"floor": floor}, data=False)
        h = self._lift(h, floor)
        shared = {"h": h, "h.plain": h, "h.last": h, "floor": floor, "sweep": 0, "pace": Pace().as_dict()}
        shared |= {"constant": None, "from_residuals": False, "last": None, "whole": whole}
        shared |= {"rows": probe.shape[0], "settled": False}
        return rows, self._with_prepared(shared, stats["w.stats"], stats["w.stats"])

    def admit(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """Starting rows made feasible, and the statistics of their regularizers."""
        del x
        w = self._lift(rows["w"], shared["floor"])
        return dict.fromkeys(self.row_factors, w), {"w.stats": self._w_stats(w)}

    # --- sweeping -------------------------------------------------------------------------------------------

    def local(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """New rows of W on one block, and the statistics for H, for the regularizers of W, and of the loss."""
        new, stats = (self._both_at_once if self._joint else self._in_turn)(x, rows, shared)
        if self._extrapolates:
            plain = "w.plain" if self._joint else "w"
            new["w.ahead"] = self.parts.rule.ahead(new[plain], rows[plain], Pace.of(shared).weight)
            stats["ahead.stats"] = self._w_stats(new["w.ahead"])
        if shared["constant"] is None:
            stats["constant"] = self.parts.rule.constant(self.parts.loss, x)
        return new, stats

    def _in_turn(self, x: Block, rows: Rows, shared: Shared, visits: int = 1) -> tuple[Rows, dict[str, Stats]]:
        loss, rule = self.parts.loss, self.parts.rule
        w, gathered = self._visited(x, self._base(rows, shared), shared, visits)
        here = Meeting(loss, x, LowRank(w, shared["h"]), right=True)
        # First what takes the look at ŷ: the value then comes with it.
        for_h = rule.gather(Term.of(here, turned=True))
        return {"w": w}, {
            "value": self._value(here, w, gathered, shared),
            "w.stats": self._w_stats(w),
            "h.prepared": rule.prepare(loss, w),
            "h.gathered": for_h,
        }

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
        if shared["from_residuals"]:
            return float(here.loss.value(here.x, here.y))
        return float(self.parts.rule.value(Term.of(here), w, shared["w.prepared"], gathered))

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
        return Penalty(self.parts.reg_w, stats)

    def apply(self, shared: Shared, stats: Stats) -> Shared:
        """The new H from the sums over all blocks."""
        rule, f, pace = self.parts.rule, shared["h"].T, Pace.of(shared)
        penalty = Penalty(self.parts.reg_h, self._h_stats(f))
        new = rule.update(
            f, self.parts.loss, stats["h.prepared"], stats["h.gathered"], penalty, self._moment(shared, shared["whole"])
        ).astype(f.dtype, copy=False)
        ahead = rule.ahead(new, shared["h.plain"].T, pace.weight) if self._extrapolates else new
        constant, objective = self._constant(shared, stats), self.objective(shared, stats)
        cancels = self._cancels(shared, self._loss(shared, stats), constant)
        following = {
            **shared,
            "h": _as_h(ahead),
            "h.plain": _as_h(new),
            "h.last": shared["h"],
            "sweep": shared["sweep"] + 1,
            "pace": pace.onward().as_dict(),
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
        return self._loss(shared, stats) + self._penalties(shared, stats["w.stats"])

    # --- sweeping by groups ---------------------------------------------------------------------------------

    def part(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """`local`, with as many updates of W as the rule has visits; a closing sweep's rows are passed over."""
        rows = {"w": rows.get("w.before", rows["w"])}
        new, stats = self._in_turn(x, rows, shared, self.parts.rule.visits)
        stats["rows"] = float(x.shape[0])
        if shared["constant"] is None:
            stats["constant"] = self.parts.rule.constant(self.parts.loss, x)
        return new, stats

    def kept(self, shared: Shared, stats: Stats, before: Stats | None) -> Stats:
        """The group's majoriser for H, its loss above that, its rows' number and regularizers."""
        rule, f = self.parts.rule, shared["h"].T
        absolute = rule.absolute(f, self.parts.loss, stats["h.prepared"], stats["h.gathered"])
        constant = stats["constant"] if before is None else before["constant"]
        value = stats["value"] + (0.0 if shared["from_residuals"] else constant)
        return {
            "absolute": absolute,
            "above": value - rule.level(f, absolute),
            "constant": constant,
            "rows": stats["rows"],
            "w.stats": stats["w.stats"],
        }

    def bound(self, shared: Shared, total: Stats) -> float:
        """The groups' majorisers at the present H, and the regularizers; exact where the loss is quadratic."""
        return self._bounded_loss(shared, total) + self._penalties(shared, total["w.stats"])

    def fading(self, shared: Shared) -> float:
        """That of the rule, until it has raised the bound or lowers it by little."""
        return 1.0 if shared["settled"] else float(self.parts.rule.fading)

    def renew(self, shared: Shared, total: Stats, faded: Stats, *, ends: bool) -> Shared:
        """The new H from the sum over all groups; those seen, or seen lately, stand for the others' share of rows.

        But where H has been fitted to all rows already, it waits until all of their groups have been seen.
        """
        rule, f = self.parts.rule, shared["h"].T
        complete = total["rows"] == shared["rows"]
        h = shared["h"]
        if complete or shared["sweep"] == 0:
            absolute, rows = faded["absolute"], faded["rows"]
            absolute = absolute if rows == shared["rows"] else times(absolute, shared["rows"] / rows)
            penalty = Penalty(self.parts.reg_h, self._h_stats(f))
            h = _as_h(
                rule.renewed(f, absolute, penalty, self._moment(shared, shared["whole"])).astype(f.dtype, copy=False)
            )
        constant = total["constant"] if complete else None
        cancels = complete and self._cancels(shared, self._bounded_loss(shared, total), total["constant"])
        following = {**shared, "h": h, "constant": constant, "from_residuals": shared["from_residuals"] or cancels}
        if ends:
            last, bound = shared["last"], self.bound(shared, total)
            slow = last is not None and last - bound <= SLOW * abs(bound)
            following |= {"h.last": shared["h"], "last": bound, "settled": shared["settled"] or slow}
            following["sweep"] += 1
        return self._with_prepared(following, total["w.stats"] if complete else shared["w.stats"], None)

    def overshot(self, shared: Shared, objective: float) -> bool:
        """Whether the bound has risen while H followed the latest groups most."""
        last = shared["last"]
        if last is None or self.fading(shared) == 1:
            return False
        scale = 0.0 if shared["from_residuals"] else shared["constant"]
        return rose(objective, last, scale, float(np.finfo(shared["h"].dtype).eps))

    def regrouped(self, shared: Shared) -> Shared:
        """The constant part of the loss is to be asked for again, and no bound to be compared with."""
        return {**shared, "constant": None, "last": None}

    def retrace(self, shared: Shared) -> Shared:
        """Back to the H of the last record; from now on H is at the minimum of the sum of all groups' majorisers."""
        return {**shared, "h": shared["h.last"], "settled": True}

    def closing(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """Rows fitted to the final H as in a group's turn, those before, and their loss and regularizers."""
        before = rows.get("w.before", rows["w"])
        w, gathered = self._visited(x, before, shared, self.parts.rule.visits)
        here = Meeting(self.parts.loss, x, LowRank(w, shared["h"]))
        stats = {"value": self._value(here, w, gathered, shared), "w.stats": self._w_stats(w)}
        if shared["constant"] is None:
            stats["constant"] = self.parts.rule.constant(self.parts.loss, x)
        return {"w": w, "w.before": before}, stats

    def _bounded_loss(self, shared: Shared, total: Stats) -> float:
        return float(total["above"]) + float(self.parts.rule.level(shared["h"].T, total["absolute"]))

    # --- fixed H --------------------------------------------------------------------------------------------

    def encode(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """Rows of W for new data on the fixed H: the W half of a sweep, repeated while the block is at hand."""
        del rows
        w, loss = encoded(self.parts, x, shared)
        return {"w": w}, {"value": loss}

    def factors(self, shared: Shared) -> dict[str, Array]:
        """{"h": (r, n)}."""
        return {"h": shared["h"]}

    # --- small parts ----------------------------------------------------------------------------------------

    def _lift(self, f: Array, floor: float) -> Array:
        lifted: Array = np.maximum(f, floor if self.parts.rule.traps_zeros else 0)
        return lifted

    def _loss(self, shared: Shared, stats: Stats) -> float:
        constant = 0.0 if shared["from_residuals"] else self._constant(shared, stats)
        return float(stats["value"]) + constant

    def _penalties(self, shared: Shared, w_stats: Stats) -> float:
        w_penalty = sum(p.value(s) for p, s in zip(self.parts.reg_w, w_stats, strict=True))
        h_penalty = sum(p.value(s) for p, s in zip(self.parts.reg_h, self._h_stats(shared["h"].T), strict=True))
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


def _as_h(f: Array) -> Array:
    """Hᵀ (n, r) as H (r, n), rows contiguous."""
    h: Array = np.ascontiguousarray(f.T, like=f)
    return h
