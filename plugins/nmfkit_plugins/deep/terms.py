"""What counts in a deep factorization besides the data: ties between layers, regularizers, sums, floors, weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmfkit.blocks import Array, Dense
from nmfkit.pace import Pace
from nmfkit.protocols import Moment, Penalty, Relative, Shared, Stats
from nmfkit.scaled import scaled
from nmfkit_plugins.deep.chain import Chain
from nmfkit_plugins.deep.coupling import Coupling
from nmfkit_plugins.deep.layers import Layers
from nmfkit_plugins.minvol.sum_to_one import SumToOne

EXACT, ROUNDINGS = 1e-9, 16
"""A loss is taken for at least this fraction, and so many roundings, of the terms that cancel in it."""


@dataclass(frozen=True)
class Terms(Layers):
    """The terms of the objective at a shared state, as the updates of single factors see them: divided by λ_ℓ."""

    # --- chains of layers -----------------------------------------------------------------------------------

    def _chain(self, shared: Shared, whole: int, *, ahead: bool = True) -> Chain:
        """The layers whose w's have the rows of X; their penalties at the points `ahead` that updates start from."""
        names = self._in_rows
        return Chain(
            self.parts.loss,
            self._rule,
            tuple(shared["weights"][: len(names)]),
            tuple(shared[f"h{i}"] for i in range(1, len(names) + 1)),
            tuple(self._row_penalty(shared, name, ahead) for name in names),
            tuple(self._moment(shared, name, whole) for name in names),
        )

    def _below(self, shared: Shared) -> Chain:
        """With side=components the layers after the first, h₁ᵀ ≈ h₂ᵀ w₂ᵀ, …"""
        numbers, features = range(2, self.depth + 1), shared["features"]
        return Chain(
            self._plain_loss,
            self._rule,
            tuple(shared["weights"][1:]),
            tuple(turned(shared[f"w{i}"]) for i in numbers),
            tuple(self._penalty(shared, f"h{i}") for i in numbers),
            tuple(self._moment(shared, f"h{i}", features) for i in numbers),
        )

    def _hs_below(self, shared: Shared) -> list[Array]:
        return [self._f(shared, f"h{i}") for i in range(2, self.depth + 1)]

    def _losses_below(self, shared: Shared, part: float = 1.0) -> list[float]:
        """The losses of the layers that no block sees, or with only that part of each product."""
        if self._of_rows or self.depth == 1:
            return []
        data = Dense(self._f(shared, "h1"), 0, shared["features"])
        hs = tuple(turned(shared[f"w{i}"]) for i in self._deeper)
        return Chain(self._plain_loss, self._rule, (), hs, (), ()).losses(data, self._hs_below(shared), part)

    # --- penalties ------------------------------------------------------------------------------------------

    def _row_penalty(self, shared: Shared, name: str, ahead: bool) -> Penalty:
        """The regularizers of a sharded w, with their statistics where its update starts."""
        further = ahead and self._goes_ahead(name) and not Pace.of(shared).restart
        stats = shared[f"{name}.ahead.stats" if further else f"{name}.stats"]
        return Penalty(self._acting(shared, name), tuple(stats))

    def _penalty(self, shared: Shared, name: str) -> Penalty:
        """The regularizers of a shared factor, and its sums; those of h₁ with what ties it to a layer below."""
        parts, stats = self._acting(shared, name), stats_of(self._regularizers(name), self._f(shared, name))
        sums = self._sums(name)
        ties = self._tie(shared) if name == "h1" else ()
        return Penalty((*parts, *sums, *ties), (*stats, *((),) * len(sums), *(0.0,) * len(ties)))

    def _tie(self, shared: Shared) -> tuple[Coupling, ...]:
        if self._of_rows or self.depth == 1:
            return ()
        ratio = shared["weights"][1] / shared["weights"][0]
        return (Coupling(self._plain_loss, ratio, self._f(shared, "h2") @ shared["w2"].T),)

    def _regularizers(self, name: str) -> tuple[Any, ...]:
        return self.parts.reg_w if name.startswith("w") else self.parts.reg_h

    def _acting(self, shared: Shared, name: str) -> tuple[Any, ...]:
        """The regularizers of a factor as they count beside its layer's loss without λ."""
        weight, factors = shared["weights"][int(name[1:]) - 1], shared["factors"][name]
        pairs = zip(self._regularizers(name), factors, strict=True)
        return tuple(scaled(part, factor / weight) for part, factor in pairs)

    def _sums(self, name: str) -> tuple[SumToOne, ...]:
        return (SumToOne(),) if name.startswith(self.normalize) else ()

    def _penalties(self, shared: Shared, stats: Stats) -> float:
        """The regularizers of all factors, as they count in the objective; those of sharded w's from the sums."""
        total = 0.0
        for name in (*self._in_rows, *self._in_shared):
            parts = self._regularizers(name)
            found = stats[f"{name}.stats"] if name in self._in_rows else stats_of(parts, self._f(shared, name))
            for part, stat, factor in zip(parts, found, shared["factors"][name], strict=True):
                total += factor * part.value(stat)
        return float(total)

    # --- weights --------------------------------------------------------------------------------------------

    def _measured(self, losses: Sequence[float], scales: Sequence[float], eps: float) -> list[float]:
        """The losses that weights are measured by: one that is zero but for rounding may come out below it."""
        least = max(EXACT, ROUNDINGS * eps)
        return [max(loss, least * scale) for loss, scale in zip(losses, scales, strict=True)]

    def _balanced(self, losses: Sequence[float]) -> list[float]:
        """λ_ℓ for layers that begin at `losses` > 0."""
        asked = self.weights or (1.0,) * self.depth
        if self.raw:
            return [float(weight) for weight in asked]
        return [weight / loss for weight, loss in zip(asked, losses, strict=True)]

    def _calibrated(self, shared: Shared, losses: Sequence[float], weights: Sequence[float]) -> Shared:
        """By what each regularizer of each factor is multiplied: {"w1": […], …}."""
        found: Shared = {}
        for name in (*(f"w{i}" for i in range(1, self.depth + 1)), *(f"h{i}" for i in range(1, self.depth + 1))):
            loss, weight = losses[int(name[1:]) - 1], weights[int(name[1:]) - 1]
            parts = self._regularizers(name)
            stats = shared[f"{name}.stats"] if name in self._in_rows else stats_of(parts, self._f(shared, name))
            multiplier = self._multiplier(name)
            found[name] = [
                multiplier
                * (part.factor(weight * loss, loss, stat) if isinstance(part, Relative) and part.relative else 1.0)
                for part, stat in zip(parts, stats, strict=True)
            ]
        return found

    def _multiplier(self, name: str) -> float:
        """What is asked for of the regularizers of a factor's layer."""
        asked = self.reg_w_layers if name.startswith("w") else self.reg_h_layers
        return 1.0 if asked is None else asked[int(name[1:]) - 1]

    # --- small parts ----------------------------------------------------------------------------------------

    def _f(self, shared: Shared, name: str) -> Array:
        """A shared factor as rules see it: an h turned, a w as it is."""
        f: Array = shared[name]
        return f if name.startswith("w") else f.T

    def _moment(self, shared: Shared, name: str, whole: int) -> Moment:
        safe = not self.extrapolate or Pace.of(shared).safe
        return Moment(shared["floors"][name], shared["sweep"], safe, whole)


def stats_of(regularizers: Sequence[Any], f: Array) -> tuple[Stats, ...]:
    """The statistic of each regularizer at `f`."""
    return tuple(part.stat(f) for part in regularizers)


def turned(f: Array) -> Array:
    """The transpose, rows contiguous."""
    whole: Array = np.ascontiguousarray(f.T, like=f)
    return whole


def stored(name: str, f: Array) -> Array:
    """A factor as the state holds it: an h (r, n), a w as it is."""
    return f if name.startswith("w") else turned(f)
