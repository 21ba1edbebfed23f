"""Incremental majorisation: H is renewed several times while a sweep goes over the data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.protocols import (
    HasGram,
    HasQuadratic,
    HasSplit,
    HasSums,
    HasSurrogate,
    Moment,
    Penalty,
    Pulled,
    Stats,
    Term,
)
from nmfkit.summed import stepped
from nmfkit.surrogate import plus
from nmfkit_plugins.beta.hals import HALS
from nmfkit_plugins.beta.multiplicative import Multiplicative

BASES: dict[str, Multiplicative | HALS] = {
    "mu": Multiplicative(extrapolate=False, joint=False),
    "hals": HALS(extrapolate=False),
}
"""The rules whose steps it takes. They never go beyond a majoriser: nobody could take such a step back here."""


@dataclass(frozen=True)
class Online:
    """A sweep goes over `parts` groups of blocks, and H is renewed after each of them: fewer reads of X.

    What a group tells about H, a majoriser made with the group's rows of W at the H of that time, is kept until the
    group's next turn; each new H minimises the sum of them all. As the sum lies above the objective and touches it
    where every group is up to date, it falls at each turn, and the fit ends where the one by `base` does: incremental
    majorisation (Neal & Hinton, 1998; Mairal, SIAM J. Optimization 25(2), 2015). Rows are updated `visits` times
    while their block is in memory.

    At first, old majorisers hold H back: they count `fading` times less at each later turn. A sweep that ends above
    the one before is undone, and from then on, or once sweeps gain little, all count alike.

    `base` is `hals` for quadratic losses and `mu` for others, unless it is named.
    """

    base: str = "auto"
    parts: int = 8
    visits: int = 3
    fading: float = 0.5

    monotone: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.base not in ("auto", *BASES):
            raise ValueError(f"base must be auto, {' or '.join(BASES)}, not {self.base!r}")
        if self.parts < 1 or self.visits < 1:
            raise ValueError(f"parts and visits must be at least 1, not {self.parts} and {self.visits}")
        if not 0 < self.fading <= 1:
            raise ValueError(f"fading must be above 0 and at most 1, not {self.fading}")

    @property
    def needs(self) -> tuple[type, ...]:
        """As the base; whatever has halves will do for `auto`."""
        return (HasSplit,) if self.base == "auto" else BASES[self.base].needs

    @property
    def accepts(self) -> tuple[type, ...]:
        """As the base."""
        return (HasSurrogate, HasSums) if self.base == "auto" else BASES[self.base].accepts

    @property
    def elementwise(self) -> bool:
        """As the base; while that is open, the smaller tiles."""
        return self.base != "hals"

    @property
    def gathers_once(self) -> bool:
        """As the base; while that is open, the costlier answer, which is never wrong."""
        return self.base == "hals"

    @property
    def traps_zeros(self) -> bool:
        """As the base; while that is open, factors are kept above the floor."""
        return self.base != "hals"

    def chosen(self, loss: Any, regularizers: tuple[Any, ...] = ()) -> Online:
        """This with the base that suits the loss and its regularizers."""
        quadratic = isinstance(loss, HasGram) and all(isinstance(part, HasQuadratic) for part in regularizers)
        return replace(self, base="hals" if quadratic else "mu") if self.base == "auto" else self

    @property
    def batch(self) -> Multiplicative | HALS:
        """The base as it is best where rows are few, and in memory."""
        return HALS() if self.base == "hals" else Multiplicative()

    # --- one factor's update, as the base does it -----------------------------------------------------------

    def prepare(self, loss: Any, other: Array) -> Stats:
        """What the base prepares."""
        return self._rule(loss).prepare(loss, other)

    def gather(self, term: Term) -> Stats:
        """What the base gathers."""
        return self._rule(term.loss).gather(term)

    def update(self, f: Array, loss: Any, prepared: Stats, gathered: Stats, penalty: Penalty, moment: Moment) -> Array:
        """The base's update."""
        new = self._rule(loss).update(f, loss, prepared, gathered, penalty, moment)
        return self._lifted(new, moment)

    def constant(self, loss: Any, x: Block) -> float:
        """The base's constant."""
        return self._rule(loss).constant(loss, x)

    def value(self, term: Term, f: Array, prepared: Stats, gathered: Stats) -> float:
        """The base's value."""
        return self._rule(term.loss).value(term, f, prepared, gathered)

    # --- sums of majorisers ---------------------------------------------------------------------------------

    def absolute(self, f: Array, loss: Any, prepared: Stats, gathered: Stats) -> dict[str, Array]:
        """The quadratic {q, c}, which refers to no point, or S_p = c_p f̃^(1−p) for each power p of the surrogate.

        c_p f̃ tᵖ / p with t = f / f̃ is S_p fᵖ / p, and c_0 f̃ ln t is S_0 ln f but for a constant.
        """
        if not isinstance(gathered, Pulled):
            return {"q": prepared, "c": gathered}
        f = f.astype(np.float64, copy=False)
        surrogate = loss.surrogate(gathered.formed())
        return {str(float(power)): c * f ** (1.0 - power) for power, c in surrogate.items()}

    def level(self, f: Array, absolute: dict[str, Array]) -> float:
        """½ tr(F Q Fᵀ) − ⟨F, C⟩, or Σ_p ⟨S_p, fᵖ / p⟩ with ln f at p = 0."""
        f = f.astype(np.float64, copy=False)
        if "q" in absolute:
            return float(0.5 * np.sum((f.T @ f) * absolute["q"]) - np.sum(f * absolute["c"]))
        return sum(float(np.sum(s * _primitive(f, float(power)))) for power, s in absolute.items())

    def renewed(self, f: Array, absolute: dict[str, Array], penalty: Penalty, moment: Moment) -> Array:
        """The minimiser of sum and penalty, or the base's step towards it."""
        if "q" in absolute:
            exact: Any = BASES["hals"]
            return self._lifted(exact.update(f, None, absolute["q"], absolute["c"], penalty, moment), moment)
        wide = f.astype(np.float64, copy=False)
        present = {float(power): s * wide ** (float(power) - 1.0) for power, s in absolute.items()}
        return stepped(wide, plus(present, *penalty.surrogates(f)), penalty, moment.floor)

    def _rule(self, loss: Any) -> Multiplicative | HALS:
        return BASES[self.chosen(loss).base]

    def _lifted(self, f: Array, moment: Moment) -> Array:
        lifted: Array = np.maximum(f, moment.floor) if self.traps_zeros else f
        return lifted


def _primitive(f: Array, power: float) -> Array:
    """∫ f^(power − 1)."""
    primitive: Array = np.log(f) if power == 0 else f**power / power
    return primitive
