"""What a deep factorization is: its layers, its sides, the names of its factors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array
from nmfkit.column_sums import too_steep
from nmfkit.protocols import (
    Halves,
    HasDataSurrogate,
    HasJoint,
    HasSplit,
    HasSums,
    HasSurrogate,
    Ingredients,
    LayerLosses,
    Level,
    Shared,
)
from nmfkit.weighted import Weighted
from nmfkit_plugins.beta.multiplicative import Multiplicative

HALVES = "w1.neg"
"""The negative half for w1 at the factors that were recorded last, kept beside them."""

ROOM = 0.8
"""The part of the exponents of a dtype that one power of an entry may take: products and sums of it need the rest."""

SIDES, NORMALIZED = ("coefficients", "components"), ("h", "w")


@dataclass(frozen=True)
class Layers:
    """The options of a deep model, and what follows from them alone."""

    parts: Ingredients
    side: str = "coefficients"
    normalize: str = "h"
    weights: tuple[float, ...] | None = None
    raw: bool = False
    reg_w_layers: tuple[float, ...] | None = None
    reg_h_layers: tuple[float, ...] | None = None
    extrapolate: bool = True
    joint: bool = True
    init_sweeps: int = 200

    takes: ClassVar[frozenset[str]] = frozenset({"loss", "reg-w", "reg-h", "init"})

    def __post_init__(self) -> None:
        wrong = []
        if self.side not in SIDES:
            wrong.append(f"side must be coefficients or components, not {self.side!r}")
        if self.normalize not in NORMALIZED:
            wrong.append(f"normalize must be h or w, not {self.normalize!r}")
        if self.init_sweeps < 1:
            wrong.append(f"init_sweeps must be at least 1, not {self.init_sweeps}")
        if self.weights is not None and not all(math.isfinite(w) and w > 0 for w in self.weights):
            wrong.append("weights must be positive numbers, one for each layer, as weights=4+2+1")
        wrong += [
            f"{option} must be numbers ≥ 0, one for each layer, as {option}=1+0.5+0.5"
            for option in ("reg_w_layers", "reg_h_layers")
            if not all(math.isfinite(m) and m >= 0 for m in getattr(self, option) or ())
        ]
        if self.weights is None and self.raw:
            wrong.append("raw weights must be given, as weights=4+2+1,raw=true")
        if wrong:
            raise ValueError("; ".join(wrong))

    def misfits(self) -> Sequence[str]:
        """What the loss and the regularizers must offer for layers to be coupled."""
        loss, ranks = self._plain_loss, self.parts.ranks
        wrong = []
        if not (isinstance(loss, HasSplit) and isinstance(loss, HasDataSurrogate)):
            wrong.append(f"model 'deep-nmf' needs a loss with majorisers in all its arguments, and {loss!r} has none")
        for name, regularizers in (("w", self.parts.reg_w), ("h", self.parts.reg_h)):
            wrong += [
                f"model 'deep-nmf' cannot use {part!r} on its {name}: it takes regularizers with a power surrogate"
                for part in regularizers
                if not isinstance(part, HasSurrogate | HasSums)
            ]
            wrong += [
                "model 'deep-nmf' keeps sums of 1 by itself, of the rows of every h (normalize=h) or of the columns of "
                f"every w (normalize=w), here of {self.normalize}: leave those on {name.upper()} out"
                for part in regularizers
                if isinstance(part, HasSums)
            ]
        for option in ("weights", "reg_w_layers", "reg_h_layers"):
            given = getattr(self, option)
            if given is not None and len(given) != len(ranks):
                wrong.append(f"{option} has {len(given)} numbers, and there are {len(ranks)} layers")
        return wrong + (too_steep(loss) if self.phased else [])

    # --- what there is --------------------------------------------------------------------------------------

    @property
    def row_factors(self) -> tuple[str, ...]:
        """w1, and with side=coefficients every other w; each with the points that it goes on from."""
        kept = (HALVES,) if self.phased and self._joint else ()
        return (*(f"{name}{end}" for name in self._in_rows for end in self._ends(name)), *kept)

    @property
    def elementwise(self) -> bool:
        """True, as of the multiplicative rule."""
        return True

    @property
    def forms_product(self) -> bool:
        """Whether the loss needs ŷ where a sparse X stores nothing."""
        return not self.parts.loss.pattern_only

    @property
    def start_sweeps(self) -> int:
        """The most sweeps over X of the multilayer start, whose first layer alone sees it."""
        return self.init_sweeps

    @cached_property
    def depth(self) -> int:
        """The number of layers."""
        return len(self.parts.ranks)

    @cached_property
    def _of_rows(self) -> bool:
        """Whether it is the sharded factor that is factorized again."""
        return self.side == "coefficients"

    @cached_property
    def _in_rows(self) -> tuple[str, ...]:
        """The w's that are sharded with the rows of X."""
        return tuple(f"w{i}" for i in range(1, (self.depth if self._of_rows else 1) + 1))

    def _ends(self, name: str) -> tuple[str, ...]:
        """What stands behind the name of a sharded w: nothing, and that of the points that it goes on from."""
        plain = (".plain",) if self._joint and not self.phased else ()
        return ("", *plain, *((".ahead",) if self._goes_ahead(name) else ()))

    def _goes_ahead(self, name: str) -> bool:
        """Whether updates of a sharded w start ahead of it: not where its halves are kept from the point recorded."""
        return self.extrapolate and not (self.phased and self._joint and name == "w1")

    @property
    def phased(self) -> bool:
        """Whether columns of sharded w's are held to their sums, which takes passes over the rows."""
        return self.normalize == "w"

    @property
    def reads(self) -> int:
        """Reads of X a sweep: a second one where the sums need halves that the first could not give."""
        return 2 if self.phased and not self._joint else 1

    @property
    def aside(self) -> int:
        """Surrogates of at most four terms, and where they were made."""
        return 5

    @cached_property
    def _in_shared(self) -> tuple[str, ...]:
        """The factors that every block sees."""
        ws = () if self._of_rows else tuple(f"w{i}" for i in range(2, self.depth + 1))
        return (*ws, *(f"h{i}" for i in range(1, self.depth + 1)))

    @cached_property
    def _gathered(self) -> range:
        """The numbers of the h's whose statistics blocks gather."""
        return range(1, len(self._in_rows) + 1)

    @cached_property
    def _deeper(self) -> range:
        """The numbers of the layers after the first."""
        return range(2, self.depth + 1)

    @cached_property
    def _rule(self) -> Multiplicative:
        return Multiplicative(extrapolate=self.extrapolate, joint=self._joint)

    @cached_property
    def _joint(self) -> bool:
        return self.joint and isinstance(self.parts.loss, HasJoint)

    @cached_property
    def _plain_loss(self) -> Any:
        loss = self.parts.loss
        return loss.loss if isinstance(loss, Weighted) else loss

    def _least(self, most: float) -> float:
        """The least entry of a factor as the next layer's data: half-gradients of a ŷ as small stay below `most`.

        They hold ŷ^(p−1), p being the lowest power of the loss's majoriser.
        """
        one = np.ones((1, 1))
        lowest = min(self._plain_loss.surrogate(Halves(one, one)))
        return float(most ** (-ROOM / (1 - lowest))) if lowest < 1 else 0.0

    def levels(self, shared: Shared) -> tuple[Level, ...]:
        """The levels, from the one next to the data on."""
        del shared
        numbers = range(1, self.depth + 1)
        if self._of_rows:
            return tuple(Level(f"w{i}", (), tuple(f"h{j}" for j in range(i, 0, -1))) for i in numbers)
        return tuple(Level("w1", tuple(f"w{j}" for j in range(2, i + 1)), (f"h{i}",)) for i in numbers)

    def layer_losses(self, following: Shared) -> LayerLosses:
        """The losses of the layers at the multilayer start and at the last record, and the λ's."""
        return LayerLosses(tuple(following["begun"]), tuple(following["losses"]), tuple(following["weights"]))

    def factors(self, shared: Shared) -> dict[str, Array]:
        """{"h1": (r₁, n), …}, with side=components also {"w2": (r₁, r₂), …}."""
        return {name: shared[name] for name in self._in_shared}
