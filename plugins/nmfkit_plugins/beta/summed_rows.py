"""The plain model where the columns of W have sums to keep: passes over the rows come before each sweep."""

from __future__ import annotations

from functools import cached_property

from nmfkit.blocks import Array, Block
from nmfkit.column_sums import ColumnStep, ColumnTotals, onto_totals
from nmfkit.lowrank import LowRank
from nmfkit.pace import Pace
from nmfkit.probe import Probe
from nmfkit.protocols import (
    HasJoint,
    HasSums,
    Majorises,
    Meeting,
    Pass,
    Penalty,
    Pulled,
    Rows,
    RowStore,
    Shared,
    Stats,
    StepsJointly,
    Sweep,
    Term,
)
from nmfkit.surrogate import Surrogate
from nmfkit_plugins.beta.sweeps import WholeSweeps, penalty_of, sums_of

AHEAD = "w.ahead.sums"
"""The name in the state of the sums of the columns of the point ahead."""


class SummedRows(WholeSweeps):
    """What a sweep does about sums of the columns of W, which is sharded.

    In general X is read twice: the first pass gathers what majorises the loss in the rows of W, later ones look for the
    multipliers, and `local` steps. Where one look at ŷ serves both factors, so does one read: what W needs of it is
    kept as rows, and its step follows at the begin of the next sweep, with the H that was updated in between. The
    majoriser at the pair that was looked at holds for both together, so that a step in H and then one in W, each to
    its minimum, cannot raise the objective.
    """

    @cached_property
    def _columns(self) -> HasSums | None:
        """What holds the sums of the columns of W."""
        sums = sums_of(self.parts.reg_w)
        return None if sums is None or sums.across else sums

    @cached_property
    def _looks_once(self) -> bool:
        rule = self.parts.rule
        jointly = isinstance(rule, StepsJointly) and rule.joint and isinstance(self.parts.loss, HasJoint)
        return self.phased and jointly

    @property
    def row_factors(self) -> tuple[str, ...]:
        """As ever; after one look, W's last step and what its next one needs of X."""
        return ("w", "w.plain", "w.neg") if self._looks_once else super().row_factors

    @property
    def phased(self) -> bool:
        """Where the columns of W have sums to keep."""
        return self._columns is not None

    @property
    def reads(self) -> int:
        """Two where there are passes, unless one look serves both factors."""
        return 2 if self.phased and not self._looks_once else 1

    @property
    def aside(self) -> int:
        """The point that W steps from, two powers of the loss, and as many of each regularizer."""
        return 1 + 2 * len(self.parts.reg_w) if self.reads > 1 else 0

    def _column_misfits(self) -> list[str]:
        if not self.phased or isinstance(self.parts.rule, Majorises):
            return []
        phrase = (Majorises.__doc__ or "").partition(",")[0]
        return [f"columns of W are held to a sum, which needs {phrase} (Majorises): use --rule mu"]

    # --- passes ---------------------------------------------------------------------------------------------

    def phase(self, shared: Shared) -> Pass | None:
        """The next pass of the search for the multipliers, or that for the scale of the point ahead."""
        if self._looks_once and not shared["w.steps"]:
            return None
        due = self._step(shared).phase(shared)
        if due is None and self._goes_ahead(shared) and AHEAD not in shared:
            return Pass(ColumnTotals(AHEAD, self._plain_ahead), shared, data=False)
        return due

    def after(self, shared: Shared, stats: Stats) -> Shared:
        """The state after a pass."""
        return {**shared, AHEAD: stats[AHEAD]} if AHEAD in stats else self._step(shared).after(shared, stats)

    def _step(self, shared: Shared) -> ColumnStep:
        assert self._columns is not None
        return ColumnStep("w", self._columns.total, shared["floor"], self._majorised, reads=not self._looks_once)

    def _majorised(self, x: Block, rows: Rows, shared: Shared) -> tuple[Array, Surrogate]:
        """Where W steps from, and the surrogate there."""
        loss, rule = self.parts.loss, self.parts.rule
        if self._looks_once:
            base = rows["w"]
            now = Meeting(loss, x, LowRank(base, shared["h.plain"]))
            gathered = rule.moved(Pulled(rows["w.neg"], rows["w.neg"]), Term.of(now))
        else:
            base = self._base(rows, shared)
            gathered = rule.gather(Term.of(Meeting(loss, x, LowRank(base, shared["h"]), left=True)))
        penalty, moment = self._w_penalty(shared), self._moment(shared, x.whole)
        return base, rule.majoriser(base, loss, shared["w.prepared"], gathered, penalty, moment)

    def _stepped(self, x: Block, rows: Rows, shared: Shared, visits: int) -> tuple[Array, Stats]:
        if not self.phased:
            return super()._stepped(x, rows, shared, visits)
        return self._step(shared).taken(x, rows, shared), None

    # --- one look for both factors --------------------------------------------------------------------------

    def local(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """As ever; or the step of W that the passes have prepared, and what both factors need, from one ŷ."""
        if not self._looks_once:
            return super().local(x, rows, shared)
        loss, rule = self.parts.loss, self.parts.rule
        plain, w = self._taken(x, rows, shared)
        here = Meeting(loss, x, LowRank(w, shared["h"]), left=True, right=True)
        for_w, for_h = rule.gather(Term.of(here)), rule.gather(Term.of(here, turned=True))
        stats = {
            "value": rule.value(Term.of(here), w, shared["w.prepared"], for_w),
            "w.stats": self._w_stats(w),
            "h.prepared": rule.prepare(loss, w),
            "h.gathered": for_h,
        }
        if shared["constant"] is None:
            stats["constant"] = rule.constant(loss, x)
        return {"w": w, "w.plain": plain, "w.neg": for_w.formed().neg}, stats

    def _taken(self, x: Block, rows: Rows, shared: Shared) -> tuple[Array, Array]:
        """The new rows, and the point ahead of them with the same sums of columns; a start is left as it is."""
        assert self._columns is not None
        if not shared["w.steps"]:
            return rows["w"], rows["w"]
        plain = self._step(shared).taken(x, rows, shared)
        if not self._goes_ahead(shared):
            return plain, plain
        ahead = self.parts.rule.ahead(plain, rows["w.plain"], shared["w.weight"])
        return plain, onto_totals(ahead, shared[AHEAD], self._columns.total, shared["whole"])

    def _goes_ahead(self, shared: Shared) -> bool:
        return self._looks_once and self._extrapolates and shared["w.weight"] > 0

    def _plain_ahead(self, x: Block, rows: Rows, shared: Shared) -> Array:
        """The point ahead of the new rows, before its columns are rescaled."""
        plain = self._step(shared).taken(x, rows, shared)
        ahead: Array = self.parts.rule.ahead(plain, rows["w.plain"], shared["w.weight"])
        return ahead

    def _w_penalty(self, shared: Shared) -> Penalty:
        """After one look, that at the pair that counts."""
        if not self._looks_once:
            return super()._w_penalty(shared)
        return penalty_of(self.regularizers(shared)[0], shared["w.stats"])

    # --- the state ------------------------------------------------------------------------------------------

    def _begun(self, rows: RowStore, h: Array, sweep: Sweep, probe: Probe, whole: int) -> tuple[RowStore, Shared]:
        rows, shared = super()._begun(rows, h, sweep, probe, whole)
        return rows, self._unstepped(shared)

    def begun_at(self, shared: Shared, h: Array, weights: Shared, w_stats: Stats) -> Shared:
        """As ever, and nothing is known of X at that pair."""
        return self._unstepped(super().begun_at(shared, h, weights, w_stats))

    def _unstepped(self, shared: Shared) -> Shared:
        return {**shared, "w.steps": False, "w.weight": 0.0} if self._looks_once else shared

    def apply(self, shared: Shared, stats: Stats) -> Shared:
        """As ever, without what the passes have left; after one look, W follows at the pace of H."""
        if not self.phased:
            return super().apply(shared, stats)
        plain = {name: value for name, value in self._step(shared).ended(shared).items() if name != AHEAD}
        following = super().apply(plain, stats)
        return {**following, "w.steps": True, "w.weight": Pace.of(shared).weight} if self._looks_once else following

    def refused(self, shared: Shared, objective: float) -> Shared | None:
        """As ever; after one look the new H is known to be better, and W follows to it without going ahead."""
        back = super().refused(shared, objective)
        if back is None or not self._looks_once:
            return back
        h = shared["h.plain"]
        onward = {**back, "h": h, "h.plain": h, "w.weight": 0.0}
        return self._with_prepared(onward, shared["w.stats"], shared["ahead.stats"])
