"""The layer-centric deep model: X ≈ W₁ H₁ and each W, or each H, a product again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nmfkit.blocks import Array, Block, Dense
from nmfkit.column_sums import ColumnStep
from nmfkit.pace import Pace, rose
from nmfkit.probe import Probe
from nmfkit.protocols import Initializer, Pass, Rows, RowStore, Shared, Stats, Sweep
from nmfkit.surrogate import Surrogate
from nmfkit_plugins.deep.chain import Chain, Visit
from nmfkit_plugins.deep.layers import HALVES
from nmfkit_plugins.deep.multilayer import Multilayer
from nmfkit_plugins.deep.rows import fitted_rows
from nmfkit_plugins.deep.terms import Terms, stats_of, stored, turned
from nmfkit_plugins.minvol.sum_to_one import SumToOne

FLOOR, MOST = 1e-16, 1e-6
"""Entries are kept at this fraction of the mean of their factor at the start; at `MOST` where less leaves the dtype."""


@dataclass(frozen=True)
class DeepNMF(Terms):
    """min Σ_ℓ λ_ℓ D(W_{ℓ−1}, W_ℓ H_ℓ) + regularizers, W₀ = X, over W's and H's ≥ 0 with sums of 1.

    Leplat, Hien, Onwunta & Gillis, Deep nonnegative matrix factorization with beta divergences, Neural Computation
    36(11), 2024. `side` says which factor is factorized again: "coefficients" (X ≈ w1 h1, w1 ≈ w2 h2, …: as there) or
    "components" (X ≈ w1 h1, h1 ≈ w2 h2, …: the same for Xᵀ). The rows of every h, or the columns of every w, sum to 1
    (`normalize`): without that, layers could be made small at no cost.

    The fit begins with one plain factorization after the other, of at most `init_sweeps` sweeps each. λ_ℓ is 1 over
    the loss of layer ℓ there, times its entry of `weights` (1 each by default); with `raw`, it is that entry alone.
    Regularizers act on the w's, or the h's, of all layers, times the layer's entry of `reg_w_layers`, `reg_h_layers`.

    One read of X and one reduction a sweep. In each block all W's are updated, the one next to X first, each coupled to
    the layer below it; what the H's need is gathered from the new W's; then all H's are updated. So no sweep raises the
    objective. As in the plain model, updates may start from a point ahead (`extrapolate`), losses that allow it step in
    both factors from a single look at X (`joint`), and a sweep that ends above the one before is undone.
    """

    # --- starting -------------------------------------------------------------------------------------------

    def start(
        self, initializer: Initializer, sweep: Sweep, probe: Probe, seed: int, dtype: Any
    ) -> tuple[RowStore, Shared]:
        """One plain factorization after the other, what they leave of each layer, and the weights that follow."""
        normalize = self.normalize
        multilayer = Multilayer(self.parts.loss, self._rule, initializer, normalize, self.init_sweeps, seed, dtype)
        if self._of_rows:
            rows, hs = multilayer.of_rows(sweep, probe, self.parts.ranks)
            return self._begun(rows, {f"h{i}": h for i, h in enumerate(hs, start=1)}, sweep, probe)
        rows, (h,) = multilayer.first(sweep, probe, self.parts.ranks[0])
        found = {"h1": h}
        # Below h₁ the h's stand on the left: rows that sum to 1 are columns there.
        below = replace(multilayer, loss=self._plain_loss, normalize="w" if normalize == "h" else "h")
        for i, (v, g) in enumerate(zip(*below.below(turned(h), self.parts.ranks[1:]), strict=True), start=2):
            found |= {f"h{i}": turned(v), f"w{i}": turned(g)}
        return self._begun(rows, found, sweep, probe)

    def _begun(self, rows: RowStore, found: dict[str, Array], sweep: Sweep, probe: Probe) -> tuple[RowStore, Shared]:
        floors = self._floors(rows, found, sweep, probe)
        found = {name: np.maximum(f, floors[name]) for name, f in found.items()}
        shared: Shared = {"floors": floors, "sweep": 0, "pace": Pace().as_dict(), "last": None}
        shared |= {"whole": probe.shape[0], "features": probe.shape[1]}
        for name, f in found.items():
            shared |= {name: f, f"{name}.plain": f, f"{name}.last": f}
        rows, stats = sweep(self.admit, rows, shared)
        for name in self._in_rows:
            shared |= {f"{name}.stats": stats[f"{name}.stats"], f"{name}.ahead.stats": stats[f"{name}.stats"]}
        losses = self._losses(shared, stats)
        halved = (*(float(loss) for loss in stats["scales"]), *self._losses_below(shared, 0.5))
        scales = [max(pair) for pair in zip(losses, halved, strict=True)]  # ½ W H may be nearer by chance
        measured = self._measured(losses, scales, float(np.finfo(found["h1"].dtype).eps))
        weights = self._balanced(measured)
        shared |= {"begun": losses, "losses": losses, "weights": weights, "scales": scales}
        return rows, {**shared, "factors": self._calibrated(shared, measured, weights)}

    def _floors(self, rows: RowStore, found: dict[str, Array], sweep: Sweep, probe: Probe) -> dict[str, float]:
        info = np.finfo(found["h1"].dtype)
        tiny, least = float(info.tiny), self._least(float(info.max))
        _, sums = sweep(_Sums(self._in_rows), rows, {}, data=False)
        means = {name: float(np.mean(s)) / probe.shape[0] for name, s in sums.items()}
        means |= {name: float(np.mean(f)) for name, f in found.items()}
        return {name: max(FLOOR * mean, tiny, min(least, MOST * mean)) for name, mean in means.items()}

    def admit(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """Starting rows above the floor, the losses of their layers, and the statistics of their regularizers."""
        ws = [np.maximum(rows[name], shared["floors"][name]) for name in self._in_rows]
        hs = tuple(shared[f"h{i}"] for i in self._gathered)
        chain = Chain(self.parts.loss, self._rule, (), hs, (), ())
        visit = chain.left(x, ws, top=self.phased and self._joint)
        stats: dict[str, Stats] = {"value": visit.losses[0], "losses": tuple(visit.losses)}
        stats["scales"] = tuple(chain.scales(x, ws))
        stats |= {f"{name}.stats": stats_of(self.parts.reg_w, w) for name, w in zip(self._in_rows, ws, strict=True)}
        new = {f"{name}{end}": w for name, w in zip(self._in_rows, ws, strict=True) for end in self._ends(name)}
        return new | (self._halves(visit) if self.phased else {}), stats

    # --- sweeping -------------------------------------------------------------------------------------------

    def local(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """New rows of every w on one block, the losses, and the statistics for the h's and the regularizers."""
        if self.phased:
            return self._held(x, rows, shared)
        bases = [self._base(rows, name, shared) for name in self._in_rows]
        chain = self._chain(shared, x.whole)
        if self._joint:
            visit, counted, plain = chain.at_once(x, bases), bases, ".plain"
        else:
            visit = chain.in_turn(x, bases, [rows[name] for name in self._in_rows])
            counted, plain = visit.ws, ""
        stats = self._left(visit, counted)
        new = dict(zip(self._in_rows, counted, strict=True))
        new |= {f"{name}{plain}": w for name, w in zip(self._in_rows, visit.ws, strict=True)}
        return new | self._ahead(visit.ws, rows, plain, shared, stats), stats

    def _ahead(self, ws: Sequence[Array], rows: Rows, plain: str, shared: Shared, stats: dict[str, Stats]) -> Rows:
        """The points ahead of new w's, seen from the rows of those before; their statistics join `stats`."""
        new, weight = {}, Pace.of(shared).weight
        for name, w in zip(self._in_rows, ws, strict=True):
            if self._goes_ahead(name):
                new[f"{name}.ahead"] = self._rule.ahead(w, rows[f"{name}{plain}"], weight)
                stats[f"{name}.ahead.stats"] = stats_of(self.parts.reg_w, new[f"{name}.ahead"])
        return new

    def _held(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """The same where columns of w's are held to their sums, once the multipliers of those are known."""
        ws = [step.taken(x, rows, shared) for step in self._column_steps(shared)]
        visit = self._chain(shared, x.whole).left(x, ws, top=self._joint)
        stats = self._left(visit, ws)
        new = dict(zip(self._in_rows, ws, strict=True)) | self._halves(visit)
        return new | self._ahead(ws, rows, "", shared, stats), stats

    def _halves(self, visit: Visit) -> Rows:
        return {HALVES: visit.for_w.formed().neg} if self._joint else {}

    def _left(self, visit: Visit, counted: Sequence[Array]) -> dict[str, Stats]:
        """The additive statistics of a block, of which the w's that count are `counted`."""
        stats: dict[str, Stats] = {"value": visit.losses[0], "losses": tuple(visit.losses)}
        for i, (name, w) in enumerate(zip(self._in_rows, counted, strict=True), start=1):
            stats[f"{name}.stats"] = stats_of(self.parts.reg_w, w)
            stats[f"h{i}.gathered"] = visit.for_h[i - 1]
        return stats

    def _base(self, rows: Rows, name: str, shared: Shared) -> Array:
        """Where the update of a w starts."""
        return rows[name if Pace.of(shared).restart else f"{name}{self._ends(name)[-1]}"]

    def apply(self, shared: Shared, stats: Stats) -> Shared:
        """The new h's from the sums over all blocks; with side=components the layers below h₁, too."""
        new = {f"h{i}": self._updated(shared, f"h{i}", stats[f"h{i}.gathered"]) for i in self._gathered}
        if not self._of_rows:
            new |= self._updated_below(shared, new["h1"])
        following = {
            **shared,
            "sweep": shared["sweep"] + 1,
            "pace": Pace.of(shared).onward().as_dict(),
            "losses": self._losses(shared, stats),
            "last": self.objective(shared, stats),
        }
        following = self._unsearched(following)
        following |= {name: stats[name] for name in stats if name.endswith(".stats")}
        for name, f in new.items():
            following |= self._moved(shared, name, f)
        return following

    def _moved(self, shared: Shared, name: str, f: Array) -> Shared:
        """The new factor, the point from which its next update starts, and the one that was recorded."""
        ahead = f
        if self.extrapolate:
            ahead = self._rule.ahead(f, self._f(shared, f"{name}.plain"), Pace.of(shared).weight)
            for part in self._sums(name):
                ahead = part.onto(ahead)
        return {name: stored(name, ahead), f"{name}.plain": stored(name, f), f"{name}.last": shared[name]}

    def _updated(self, shared: Shared, name: str, gathered: Stats) -> Array:
        f = self._f(shared, name)
        moment = self._moment(shared, name, shared["whole"])
        new = self._rule.update(f, self.parts.loss, (), gathered, self._penalty(shared, name), moment)
        updated: Array = new.astype(f.dtype, copy=False)
        return updated

    def _updated_below(self, shared: Shared, top: Array) -> dict[str, Array]:
        """The layers below h₁, of which h₁ᵀ is `top` (n, r₁) now: their h's in turn, then their w's."""
        now = self._hs_below(shared)
        visit = self._below(shared).in_turn(Dense(top, 0, shared["features"]), now, now)
        new = {f"h{i}": f for i, f in zip(self._deeper, visit.ws, strict=True)}
        gathered = zip(self._deeper, visit.for_h, strict=True)
        return new | {f"w{i}": self._updated(shared, f"w{i}", left) for i, left in gathered}

    # --- sums of columns of w's -----------------------------------------------------------------------------

    def phase(self, shared: Shared) -> Pass | None:
        """The next pass over the rows: the search for each w's multipliers in turn."""
        passes = (step.phase(shared) for step in self._column_steps(shared))
        return next((due for due in passes if due is not None), None) if self.phased else None

    def after(self, shared: Shared, stats: Stats) -> Shared:
        """The state after that pass."""
        due = next(step for step in self._column_steps(shared) if step.phase(shared) is not None)
        return due.after(shared, stats)

    def made(self, x: Block, rows: Rows, shared: Shared, at: int) -> tuple[Array, Surrogate]:
        """The rows of w number `at` (from 0), and the surrogate there: its data are the new rows of the w above it."""
        now, base = [rows[name] for name in self._in_rows], self._base(rows, self._in_rows[at], shared)
        chain, steps = self._chain(shared, x.whole), self._column_steps(shared)
        data = x if at == 0 else Dense(steps[at - 1].taken(x, rows, shared), x.first, x.whole)
        return base, chain.majoriser(data, base, now, at, rows[HALVES] if at == 0 and self._joint else None)

    def _column_steps(self, shared: Shared) -> list[ColumnStep]:
        total = SumToOne.total
        return [
            ColumnStep(name, total, shared["floors"][name], _Made(self, at), at == 0 and not self._joint, kept=True)
            for at, name in enumerate(self._in_rows)
        ]

    def _unsearched(self, shared: Shared) -> Shared:
        for step in self._column_steps(shared):
            shared = step.ended(shared)
        return shared

    # --- judging --------------------------------------------------------------------------------------------

    def objective(self, shared: Shared, stats: Stats) -> float:
        """Weighted losses and regularizers of the new w's and the h's that they were fitted to."""
        losses = zip(shared["weights"], self._losses(shared, stats), strict=True)
        return float(sum(weight * loss for weight, loss in losses) + self._penalties(shared, stats))

    def _losses(self, shared: Shared, stats: Stats) -> list[float]:
        return [*(float(loss) for loss in stats["losses"]), *self._losses_below(shared)]

    def scale(self, shared: Shared) -> float:
        """Σ λ_ℓ D(W_{ℓ−1}, ½ W_ℓ H_ℓ) at the start, or with W_ℓ H_ℓ where that is more."""
        return float(sum(weight * scale for weight, scale in zip(shared["weights"], shared["scales"], strict=True)))

    def refused(self, shared: Shared, objective: float) -> Shared | None:
        """The factors that were recorded last, to step on from safely; None where `objective` is no rise."""
        last, pace = shared["last"], Pace.of(shared)
        if not self.extrapolate or last is None:
            return None
        if pace.restart and pace.safe and math.isfinite(objective):
            return None  # a step from what counts, and a sure one: what has risen is rounding
        if not rose(objective, last, self.scale(shared), float(np.finfo(shared["h1"].dtype).eps)):
            return None
        back = {end: shared[f"{name}.last"] for name in self._in_shared for end in (name, f"{name}.plain")}
        return self._unsearched({**shared, **back, "pace": pace.back().as_dict()})

    # --- fixed h's ------------------------------------------------------------------------------------------

    def encode(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """Rows of every sharded w for new data on the fixed h's; sums over all rows of a w are not theirs to keep."""
        del rows
        chain = self._chain(shared, x.whole, ahead=False)
        ws = fitted_rows(chain, x, shared["encode.sweeps"], shared["encode.tol"])
        losses = tuple(chain.losses(x, ws))
        return dict(zip(self._in_rows, ws, strict=True)), {"value": losses[0], "losses": losses}


@dataclass(frozen=True)
class _Made:
    """What a step of w number `at` starts from."""

    model: DeepNMF
    at: int

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Array, Surrogate]:
        return self.model.made(x, rows, shared, self.at)


@dataclass(frozen=True)
class _Sums:
    """The step that sums up the entries of row factors, component by component."""

    names: tuple[str, ...]

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        del x, shared
        return {}, {name: np.sum(rows[name], axis=0, dtype=np.float64) for name in self.names}
