"""How far a fit goes beyond its steps: Nesterov's weights, begun anew whenever the objective rises."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

CALM = 64
"""The most sweeps of safe steps in a row after a refusal."""
GROWTH, SHRINK, LEAST = 1.01, 0.8, 0.3
"""The most weight: after a refusal, `SHRINK` times the one that was too much, growing from sweep to sweep."""
SLACK, SCALE_SLACK = 16.0, 0.1
"""A rise of so many roundings of the objective, and of the sums that it is the difference of, is none.

The roundings of many terms cancel: their sum is far from one rounding of the whole.
"""


@dataclass(frozen=True)
class Pace:
    """Between two sweeps: `t` of Nesterov's sequence (1 after a restart), sweeps of safe steps still to come (`calm`).

    `restart` says that the next sweep starts from the factors that count, not from a point ahead of them; `refusals`
    counts the sweeps that had to be undone.
    """

    t: float = 1.0
    cap: float = 1.0
    calm: int = 0
    refusals: int = 0
    restart: bool = True

    @property
    def weight(self) -> float:
        """How much of a sweep's movement is added to its result: 0 after a restart, towards 1 later on.

        (t − 1) / t⁺ with t⁺ = (1 + √(1 + 4 t²)) / 2. Nesterov, Soviet Math. Doklady 27(2), 1983.
        """
        return min(self.cap, (self.t - 1) / self._following)

    @property
    def _following(self) -> float:
        return (1 + math.sqrt(1 + 4 * self.t * self.t)) / 2

    @property
    def safe(self) -> bool:
        """Whether only steps that are known to lower the objective are taken."""
        return self.calm > 0

    def onward(self) -> Pace:
        """After a sweep that was good."""
        cap = min(1.0, GROWTH * self.cap)
        return replace(self, t=self._following, cap=cap, calm=max(0, self.calm - 1), restart=False)

    def back(self) -> Pace:
        """After a sweep that was undone: each time, safe steps last longer."""
        cap = max(LEAST, SHRINK * self.weight)
        return Pace(1.0, cap, min(CALM, 2**self.refusals), self.refusals + 1, True)

    def as_dict(self) -> dict[str, Any]:
        """In plain values, for a shared state."""
        return {"t": self.t, "cap": self.cap, "calm": self.calm, "refusals": self.refusals, "restart": self.restart}

    @classmethod
    def of(cls, shared: Any) -> Pace:
        """That of a shared state."""
        return cls(**shared["pace"])


def rose(objective: float, before: float, scale: float, eps: float) -> bool:
    """Whether `objective` is above the one `before` it by more than rounding, for sums of about `scale`; NaN is."""
    return not objective <= before + eps * (SLACK * abs(before) + SCALE_SLACK * scale)
