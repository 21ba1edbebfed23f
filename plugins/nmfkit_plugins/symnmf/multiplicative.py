"""Multiplicative updates of one factor, by the root of a sum of powers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array
from nmfkit.protocols import Halves as LossHalves
from nmfkit.protocols import Moment, Penalty, Pulled
from nmfkit.surrogate import Surrogate
from nmfkit_plugins.beta.multiplicative import Multiplicative
from nmfkit_plugins.symnmf.rules import Facts, Halves

FLOOR = 1e-16
"""Entries are kept at this fraction of the largest one of the start, for no product leaves zero."""

SAFE = 1 / 3
"""The longest power that rose in no trial."""

STEP = Multiplicative(extrapolate=False)
"""The rule that multiplies by roots, whatever the surrogate."""


@dataclass(frozen=True)
class Powers:
    """Stands for the loss of one factor: its surrogate in t is pos · t^p / p − neg · ln t, with p = 1 / `power`.

    Its root is (neg/pos)^power. With p = 4 it majorises ½ ‖A − H Hᵀ‖², divided by 2: ⟨H, H HᵀH⟩ by the inequality of
    means, and −⟨H, A H⟩ by x ≥ 1 + ln x.
    """

    power: float

    def surrogate(self, halves: LossHalves) -> Surrogate:
        """The two terms, without their common factor H."""
        return {1 / self.power: halves.pos, 0: -halves.neg}


@dataclass(frozen=True)
class SymMU:
    """H ← H ∘ (A H / H HᵀH)^power, or with `damping` β: H ← H ∘ (1 − β + β A H / H HᵀH).

    `power` ¼ is safe by its majoriser, and ⅓ (He, Xie, Zdunek, Zhou & Cichocki, IEEE TNN 22(12), 2011) rose in no
    trial. Longer steps may rise, so that the best H counts: ½ where A has negative entries, damping ½ (Ding, He &
    Simon, SDM 2005), the default, where rows of H are far too small for A. A whole step (power 1) goes to and fro.
    Where A has negative entries, those of A⁻ H join the denominator.
    """

    power: float | None = None
    damping: float | None = None

    signed: ClassVar[bool] = True
    splits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.power is not None and self.damping is not None:
            raise ValueError("power and damping are two ways to shorten a step: give one of them")
        for name, value in (("power", self.power), ("damping", self.damping)):
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{name} must be in (0, 1], not {value}")

    @property
    def monotone(self) -> bool:
        """Whether steps are short enough."""
        return self.power is not None and self.power <= SAFE

    def begin(self, h: Array, facts: Facts) -> dict[str, Any]:
        """The floor."""
        del facts
        return {"floor": FLOOR * float(np.max(h))}

    def step(self, h: Array, product: Array | Halves, gram: Array, state: dict[str, Any]) -> Array:
        """The rows times the root of the surrogate."""
        pos = h @ gram.astype(h.dtype)
        if isinstance(product, Halves):
            pos, neg = pos + product.neg, product.pos
        else:
            neg = product
        if self.power is None:
            share = self.damping or 0.5
            ratio = np.where(pos > 0, neg / np.where(pos > 0, pos, np.ones_like(pos)), np.ones_like(pos))
            damped: Array = np.maximum(h * (1 - share + share * ratio), state["floor"])
            return damped
        pulled = Pulled(pos, neg)
        return STEP.update(h, Powers(self.power), (), pulled, Penalty(), Moment(floor=state["floor"]))

    def advance(self, state: dict[str, Any], objective: float) -> dict[str, Any]:
        """As it is."""
        del objective
        return state
