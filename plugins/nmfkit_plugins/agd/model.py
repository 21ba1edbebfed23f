"""Alternating gradient descent with thresholded decoding, of which a stage is one read of X."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.probe import Probe
from nmfkit.protocols import Ingredients, Initializer, Rows, RowStore, Shared, Stats, Sweep
from nmfkit.stats import Least
from nmfkit_plugins.agd import start as starting
from nmfkit_plugins.agd.codes import final_codes
from nmfkit_plugins.agd.decoding import Decoder, normalized, squares_of, thresholded
from nmfkit_plugins.agd.diagnostics import Moments
from nmfkit_plugins.agd.holdout import held_out, share_of
from nmfkit_plugins.agd.options import faults
from nmfkit_plugins.agd.reseeding import due, furthest_of, idle_for, reseeded
from nmfkit_plugins.agd.stages import NOISE, ROUNDING, Bar, Held, lowered, most_of_noise, noise_of_codes
from nmfkit_plugins.agd.step import descended, official
from nmfkit_plugins.beta.divergence import Frobenius


@dataclass(frozen=True)
class AGD:
    """Components H of either sign of data X ≈ W H with sparse weights W ≥ 0, up to their order and their scale.

    Li & Liang, Provable alternating gradient descent for non-negative matrix factorization with strong correlations,
    ICML 2017. A stage decodes every sample with the pseudo-inverse of H, sets to zero what does not reach a threshold
    α, and takes `steps` gradient steps in H on ½ ‖X − W H‖², W fixed: all at once, from WᵀW and XᵀW. So it is one read
    of X and one reduction of r × n + r² numbers. Then α is divided by `decay`.

    `alpha` is the threshold before the first stage, as a fraction of the median over samples of their largest weight at
    the start, H having rows of length 1. It ends at `floor`: a fraction like that, or `auto`, where it stays above the
    noise of a decoded weight as the residual tells it; data without noise have none. `eta` `auto` is a step of
    1 / λmax(WᵀW), `official` that of the authors' program, 0.5 / r with H at the scale of the start.

    A share `holdout` of the samples, the same for any sharding, takes no part in the steps; of the stages whose
    components fit these best by nonnegative least squares, but for chance, the last one is the result. `auto` is a
    tenth where ten samples a component are left to fit, and none otherwise. A component that no sample has used for
    `reseed` stages gives way to the sample furthest from their span, unless that is no further than noise, and α begins
    anew; 0: it stays. With `nonneg` `clip`, negative entries of H become zero at the end.

    A last read of X ends the fit: H is that of the stage chosen, its rows have length 1, and W has nonnegative least
    squares codes (`codes` `nnls`), or those of a stage (`threshold`). The records before are of the codes that the
    stages have. They may rise where the threshold still moves, and fall with it; a plateau ends the fit.
    """

    parts: Ingredients
    alpha: float = 0.3
    decay: float = 1.1
    steps: int = 50
    eta: str = "auto"
    floor: str = "auto"
    nonneg: str = "false"
    holdout: str = "auto"
    reseed: int = 4
    codes: str = "nnls"

    takes: ClassVar[frozenset[str]] = frozenset({"init"})
    start_from: ClassVar[str] = "spa"
    row_factors: ClassVar[tuple[str, ...]] = ("w",)
    signed: ClassVar[bool] = True
    closes: ClassVar[bool] = True
    monotone: ClassVar[bool] = False
    elementwise: ClassVar[bool] = False
    forms_product: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if wrong := list(faults(self)):
            raise ValueError("; ".join(wrong))

    @property
    def least_sweeps(self) -> int:
        """Until components that nobody uses have given way, for which the threshold is raised again."""
        return 2 * self.reseed

    def misfits(self) -> Sequence[str]:
        """One rank is all it takes."""
        ranks = self.parts.ranks
        return [] if len(ranks) == 1 else [f"model 'agd' takes one rank, and {len(ranks)} are given"]

    def cautions(self, initializer: Any, shape: tuple[int, int]) -> Sequence[str]:
        """A random start, and too few samples."""
        rank = self.parts.ranks[0]
        return starting.cautions(initializer, shape[0], share_of(self.holdout, shape[0], rank), rank)

    # --- starting -------------------------------------------------------------------------------------------

    def start(
        self, initializer: Initializer, sweep: Sweep, probe: Probe, seed: int, dtype: Any
    ) -> tuple[RowStore, Shared]:
        """The rows of the initializer, which nothing is made of, and its H; the first threshold from a read of X."""
        (m, n), rank = probe.shape, self.parts.ranks[0]
        rows, h = starting.needed(initializer).start(sweep, probe, rank, seed, dtype)
        unit, lengths = normalized(h)
        decoder = Decoder.of(unit.astype(h.dtype))
        found = starting.seen(sweep, decoder, m)
        starting.warn_of(found[:, 1], probe.low < 0)
        scale = starting.scale_of(found[:, 0])
        shared = {
            **decoder._asdict(),
            "alpha": self._first(scale, 0.0),
            "scale": scale,
            "lengths": lengths,
            "squares": probe.squares,
            "shape": (m, n),
            "share": share_of(self.holdout, m, rank),
            "idle": np.zeros_like(lengths[:, 0]),
            "patience": np.full_like(lengths[:, 0], self.reseed or np.inf),
            "bar": tuple(Bar()),
            "chosen": {"h": decoder.h, "alpha": self.alpha * scale},
            "moments": None,
        }
        return rows, shared

    # --- a stage --------------------------------------------------------------------------------------------

    def local(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """Thresholded codes of a block, and from those of samples that are not held out the sums for H."""
        del rows
        decoder = Decoder.held(shared)
        v = decoder.decoded(x)
        z, cross = thresholded(v, shared["alpha"]), decoder.cross(v)
        held = held_out(x, shared["share"], v)
        fitted = np.where(held, 0, z)
        stats = {
            "value": decoder.above(z, cross),
            "explained": float(np.sum(v * cross)),
            "b": x.tdot(fitted.astype(decoder.p.dtype)),
            "moments": Moments.of(fitted, float(len(v) - np.count_nonzero(held))),
            "held": self._residuals_of_held(x, decoder, v, held),
        }
        if bool(due(shared["idle"], shared["patience"]).any()):
            stats["furthest"] = furthest_of(x, np.where(held[:, 0], 0, decoder.residuals(v, cross, squares_of(x))))
        return {"w": z.astype(decoder.p.dtype)}, stats

    def _residuals_of_held(self, x: Block, decoder: Decoder, v: Array, held: Array) -> Held:
        at = np.nonzero(held[:, 0])[0]
        if not len(at):
            return Held(0.0, 0.0, 0.0)
        chosen = v[at]
        codes = final_codes("nnls", decoder, chosen, 0.0, x.whole)
        left = decoder.residuals(codes, decoder.cross(chosen), squares_of(x.take(at)))
        return Held(float(len(at)), float(np.sum(left)), float(np.sum(left**2)))

    def apply(self, shared: Shared, stats: Stats) -> Shared:
        """The next components, what is known of the noise, the next threshold, and whether this stage may be chosen."""
        held, bar = Held(*stats["held"]), Bar(*shared["bar"])
        bar = bar.after(held)
        taken = bar.passed(held, self._rounding(shared))
        h, lengths = self._moved(shared, stats)
        noise = noise_of_codes(
            shared["squares"], stats["explained"], shared["shape"], len(h), shared["spread"], eps_of(shared)
        )
        following = {
            **shared,
            "alpha": lowered(shared["alpha"], self.decay, self._least(shared["scale"], noise)),
            "lengths": lengths,
            "idle": idle_for(shared["idle"], stats["moments"].gram),
            "bar": tuple(bar),
            "chosen": {"h": shared["h"], "alpha": shared["alpha"]} if taken else shared["chosen"],
            "moments": stats["moments"].plain(),
        }
        if "furthest" in stats and self._is_apart(stats["furthest"], shared, stats):
            h, renewed = self._reseeded(h, shared, stats, noise)
            following |= renewed
        return {**following, **Decoder.of(h.astype(shared["h"].dtype))._asdict()}

    def _moved(self, shared: Shared, stats: Stats) -> tuple[Array, Array]:
        """Components of length 1, and the lengths that they would have had."""
        s, h = stats["moments"].gram, shared["h"].astype(np.float64, copy=False)
        b = stats["b"].astype(np.float64, copy=False)
        if self.eta == "auto":
            return normalized(descended(h, s, b, self.steps))
        lengths = np.where(shared["lengths"] > 0, shared["lengths"], 1)
        scaled = s / (lengths * lengths.T)
        return normalized(descended(h * lengths, scaled, b / lengths.T, self.steps, official(scaled)))

    def _reseeded(self, h: Array, shared: Shared, stats: Stats, noise: float) -> tuple[Array, Shared]:
        """Components with a new one among them, and what changes with it.

        A new component is far from any true one, and the threshold must be as high as for any start. It may die again,
        where there are more components than the data have: each time it is given twice the patience.
        """
        chosen = due(shared["idle"], shared["patience"])
        return reseeded(h, chosen, stats["furthest"].beside), {
            "alpha": self._first(shared["scale"], noise),
            "idle": np.where(chosen, 0, idle_for(shared["idle"], stats["moments"].gram)),
            "patience": np.where(chosen, 2 * shared["patience"], shared["patience"]),
        }

    def _is_apart(self, furthest: Least, shared: Shared, stats: Stats) -> bool:
        """Whether a sample lies further from the span of the components than noise brings any, or rounding."""
        (m, n), rank = shared["shape"], len(shared["idle"])
        left = (shared["squares"] - float(stats["explained"])) / m
        rounding = math.sqrt(eps_of(shared)) * float(np.sum(furthest.beside * furthest.beside))
        return bool(-float(furthest.value[0, 0]) > max(rounding, left * most_of_noise(m, n - rank)))

    def _first(self, scale: float, noise: float) -> float:
        """The first threshold, which has been lowered once."""
        return lowered(self.alpha * scale, self.decay, self._least(scale, noise))

    def _least(self, scale: float, noise: float) -> float:
        """What the threshold must not fall below."""
        return NOISE * noise if self.floor == "auto" else float(self.floor) * scale

    def _rounding(self, shared: Shared) -> float:
        """What is no more than rounding in the residual of a sample of the data's size."""
        rounding: float = ROUNDING * eps_of(shared) * shared["squares"] / shared["shape"][0]
        return rounding

    # --- judging and closing --------------------------------------------------------------------------------

    def objective(self, shared: Shared, stats: Stats) -> float:
        """½ ‖X − W H‖² of the codes and components of a sweep."""
        value = 0.5 * float(shared["squares"]) + float(stats["value"])
        return 0.0 if value < 0 else value  # NaN stays what it is, for the fit to end with

    def closing_state(self, shared: Shared) -> Shared:
        """The components of the stage chosen, clipped if asked for."""
        chosen = shared["chosen"]
        h = chosen["h"]
        if self.nonneg == "clip":
            h = normalized(np.maximum(h, 0))[0].astype(h.dtype)
        return {**Decoder.of(h)._asdict(), "alpha": chosen["alpha"], "squares": shared["squares"]}

    def closing(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """The codes to return, and their loss."""
        del rows
        decoder = Decoder.held(shared)
        v = decoder.decoded(x)
        codes = final_codes(self.codes, decoder, v, shared["alpha"], x.whole).astype(decoder.p.dtype)
        wide = codes.astype(np.float64, copy=False)
        return {"w": codes}, {"value": decoder.above(wide, decoder.cross(v))}

    def encode(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """Codes of new samples, as those that a fit ends with."""
        rows, stats = self.closing(x, rows, shared)
        return rows, {"value": stats["value"] + Frobenius().offset(x)}

    def factors(self, shared: Shared) -> dict[str, Array]:
        """{"h": (r, n)}."""
        return {"h": shared["h"]}


def eps_of(shared: Shared) -> float:
    """The rounding of the data's dtype."""
    return float(np.finfo(shared["h"].dtype).eps)
