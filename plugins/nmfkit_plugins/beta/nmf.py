"""The plain model X ≈ W H."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.column_sums import too_steep
from nmfkit.lowrank import LowRank
from nmfkit.pace import Pace, rose
from nmfkit.probe import Probe
from nmfkit.protocols import (
    HasSums,
    Incremental,
    Initializer,
    Meeting,
    Penalty,
    Rows,
    RowStore,
    Shared,
    Stats,
    Sweep,
)
from nmfkit.stats import times
from nmfkit_plugins.beta.calibration import calibrated
from nmfkit_plugins.beta.encoding import encoded
from nmfkit_plugins.beta.summed_rows import SummedRows
from nmfkit_plugins.beta.sweeps import as_h, penalty_of, sums_of

SLOW = 1e-4
"""A sweep that lowers the bound by less than this fraction is the last one in which groups fade."""

UNDER_WAY = 8.0
"""Where Nesterov's sequence begins for factors that come from an earlier fit."""

CARRIED, CARRIED_TOL = 8, 1e-2
"""Updates of the rows of W for an H from elsewhere, and the change of a row below which it needs no more."""


@dataclass(frozen=True)
class NMF(SummedRows):
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

    takes: ClassVar[frozenset[str]] = frozenset({"loss", "rule", "reg-w", "reg-h", "init"})

    @cached_property
    def groups(self) -> int:
        """As many as an incremental rule has parts."""
        rule = self.parts.rule
        return rule.parts if isinstance(rule, Incremental) else 0

    def misfits(self) -> Sequence[str]:
        """One rank is all it takes, and sums that can be kept together."""
        ranks = self.parts.ranks
        more = f"model 'nmf' takes one rank, and {len(ranks)} are given; --model deep-nmf takes one for each layer"
        wrong = [more] if len(ranks) != 1 else []
        return wrong + self._sum_misfits() + ([] if self.groups else self._column_misfits())

    def _sum_misfits(self) -> list[str]:
        of_w, of_h = sums_of(self.parts.reg_w), sums_of(self.parts.reg_h)
        if of_w is None or of_w.across:
            return []
        wrong = []
        if of_h is not None and not of_h.across:
            wrong.append(
                "the columns of W and the rows of H are both held to a sum, so that no component can have a size: "
                "leave one of the constraints out"
            )
        if self.groups:
            wrong.append(
                "columns of W are held to a sum, and an incremental rule never sees whole columns: use --rule mu, or "
                "hold the rows of H to a sum"
            )
        return wrong + too_steep(self.parts.loss)

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

    def calibrate(self, rows: RowStore, shared: Shared, sweep: Sweep) -> tuple[RowStore, Shared]:
        """The start after a few sweeps without those regularizers whose weights are measured there."""
        rows, begun = calibrated(self, rows, shared, sweep)
        return rows, self.regrouped(begun) if self.groups else begun

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
            moment = self._moment(shared, shared["whole"])
            h = as_h(rule.renewed(f, absolute, self._h_penalty(shared), moment).astype(f.dtype, copy=False))
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
        """Rows of W for new data on the fixed H: the W half of a sweep, repeated while the block is at hand.

        Each row for itself: what holds the sums of columns is left out, and what couples rows through a statistic, as
        a volume, sees that of the rows that `shared` was fitted to.
        """
        del rows
        known = zip(self.regularizers(shared)[0], shared["w.stats"], strict=True)
        alone = [(part, stat) for part, stat in known if not (isinstance(part, HasSums) and not part.across)]
        penalty = penalty_of(*zip(*alone, strict=True)) if alone else Penalty()
        parts = replace(self.parts, reg_w=penalty.parts)
        w, loss = encoded(parts, x, {**shared, "w.stats": penalty.stats})
        return {"w": w}, {"value": loss}

    def factors(self, shared: Shared) -> dict[str, Array]:
        """{"h": (r, n)}."""
        return {"h": shared["h"]}
