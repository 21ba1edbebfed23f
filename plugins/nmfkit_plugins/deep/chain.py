"""A chain of layers on one block: D₀ ≈ W₁ H₁, W₁ ≈ W₂ H₂, …, and what one sweep makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from nmfkit.blocks import Array, Block, Dense
from nmfkit.lowrank import LowRank
from nmfkit.protocols import Meeting, Moment, Penalty, Pulled, Stats, Term
from nmfkit.surrogate import Surrogate
from nmfkit.weighted import Weighted
from nmfkit_plugins.deep.coupling import Coupling


class Visit(NamedTuple):
    """What a sweep leaves of a block: new W's, each layer's loss, and what the update of each H needs."""

    ws: list[Array]
    losses: list[float]
    for_h: list[Stats]
    for_w: Stats = None


@dataclass(frozen=True)
class Chain:
    """Layers with their H's fixed: min over the W's of Σ λ_ℓ D(W_{ℓ−1}, W_ℓ H_ℓ) + penalties, W₀ being the data.

    `weights` are the λ_ℓ; `penalties` those of each W, divided by its λ_ℓ, as `moments` and `hs` in the layers' order.
    """

    loss: Any
    rule: Any
    weights: tuple[float, ...]
    hs: tuple[Array, ...]
    penalties: tuple[Penalty, ...]
    moments: tuple[Moment, ...]

    def in_turn(self, data: Block, bases: Sequence[Array], now: Sequence[Array]) -> Visit:
        """Every W from its base, top down, then what the new ones leave; `now` are the W's that count."""
        ws: list[Array] = []
        for at, base in enumerate(bases):
            meeting = Meeting(self.loss, self._data(data, ws, at), LowRank(base, self.hs[at]), left=True)
            ws.append(self._updated(at, base, self.rule.gather(Term.of(meeting)), now))
        return self.left(data, ws)

    def at_once(self, data: Block, bases: Sequence[Array]) -> Visit:
        """The same from a single look at each layer: losses are those of the bases, H's halves are moved to the new W.

        The majoriser of a loss that steps jointly holds for both factors, and its data may change, too: it is linear
        in them but for what the coupling of the layer above counts.
        """
        ws: list[Array] = []
        losses, for_h = [], []
        for at, base in enumerate(bases):
            given, y = self._data(data, ws, at), LowRank(base, self.hs[at])
            here = Meeting(self.loss, given, y, left=True, right=True)
            gathered, turned = self.rule.gather(Term.of(here)), self.rule.gather(Term.of(here, turned=True))
            losses.append(here.value() if at == 0 else float(self.loss.value(self._data(data, bases, at), y)))
            ws.append(self._updated(at, base, gathered, bases))
            moved = Meeting(self.loss, given, LowRank(ws[at], self.hs[at]))
            for_h.append(self.rule.moved(turned, Term.of(moved, turned=True)))
        return Visit(ws, losses, for_h)

    def left(self, data: Block, ws: list[Array], *, top: bool = False) -> Visit:
        """What the W's leave as they are; with `top` also the halves for the first of them."""
        losses, for_h, for_w = [], [], None
        for at, w in enumerate(ws):
            both = top and at == 0
            here = Meeting(self.loss, self._data(data, ws, at), LowRank(w, self.hs[at]), left=both, right=True)
            for_h.append(self.rule.gather(Term.of(here, turned=True)))
            losses.append(here.value())
            for_w = self.rule.gather(Term.of(here)) if both else for_w
        return Visit(ws, losses, for_h, for_w)

    def rows(self, data: Block, bases: Sequence[Array], now: Sequence[Array]) -> list[Array]:
        """The W half of a sweep alone."""
        ws: list[Array] = []
        for at, base in enumerate(bases):
            meeting = Meeting(self.loss, self._data(data, ws, at), LowRank(base, self.hs[at]), left=True)
            ws.append(self._updated(at, base, self.rule.gather(Term.of(meeting)), now))
        return ws

    def majoriser(self, data: Block, base: Array, now: Sequence[Array], at: int, neg: Array | None = None) -> Surrogate:
        """What W number `at` minimises from its base, `data` being its own and `neg` its half, if that is known."""
        term = Term.of(Meeting(self.loss, data, LowRank(base, self.hs[at]), left=True))
        gathered = self.rule.gather(term) if neg is None else self.rule.moved(Pulled(neg, neg), term)
        found: Surrogate = self.rule.majoriser(base, self.loss, (), gathered, self.coupled(at, now), self.moments[at])
        return found

    def losses(self, data: Block, ws: Sequence[Array], part: float = 1.0) -> list[float]:
        """D(W_{ℓ−1}, W_ℓ H_ℓ) of each layer, or with only that part of each product."""
        pairs = enumerate(zip(ws, self.hs, strict=True))
        return [float(self.loss.value(self._data(data, ws, at), LowRank(w * part, h))) for at, (w, h) in pairs]

    def scales(self, data: Block, ws: Sequence[Array]) -> list[float]:
        """D(W_{ℓ−1}, ½ W_ℓ H_ℓ): the size of the terms that cancel where a layer fits closely."""
        return self.losses(data, ws, 0.5)

    def coupled(self, at: int, now: Sequence[Array]) -> Penalty:
        """The penalty of W number `at` (from 0) with its tie to the layer below it, if there is one."""
        penalty = self.penalties[at]
        if at + 1 == len(self.hs):
            return penalty
        weight = self.weights[at + 1] / self.weights[at]
        # Weights are of the entries of X; every entry of a W counts alike.
        loss = self.loss.loss if isinstance(self.loss, Weighted) else self.loss
        tie = Coupling(loss, weight, now[at + 1] @ self.hs[at + 1])
        return Penalty((*penalty.parts, tie), (*penalty.stats, 0.0))

    def _data(self, data: Block, ws: Sequence[Array], at: int) -> Block:
        return data if at == 0 else Dense(ws[at - 1], data.first, data.whole)

    def _updated(self, at: int, base: Array, gathered: Stats, now: Sequence[Array]) -> Array:
        new = self.rule.update(base, self.loss, (), gathered, self.coupled(at, now), self.moments[at])
        w: Array = new.astype(base.dtype, copy=False)
        return w
