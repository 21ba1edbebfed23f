"""The multiplicative rule: the root of the summed surrogates, for any loss and regularizers that have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.protocols import HasEager, HasSplit, HasSums, HasSurrogate, Moment, Penalty, Pulled, Stats, Term
from nmfkit.summed import stepped
from nmfkit.surrogate import Surrogate, plus
from nmfkit.terms import offers


@dataclass(frozen=True)
class Multiplicative:
    """f ← f̃ t with t the root of Σ_p c_p t^(p−1), the derivative of loss and regularizers majorised at f̃.

    Never raises the objective (the surrogates' sum majorises it). Zero is a fixed point of any product, so
    entries are kept at or above a floor far below the data's scale.

    With `extrapolate`, f̃ lies ahead of the factor by part of what its last step added (Hien, Leplat & Gillis, Block
    majorization minimization with extrapolation, 2024), and losses that know a longer step than the majorising one
    take it; a model undoes a sweep that raised the objective. With `joint`, both factors step from one ŷ where the
    loss allows it (Kullback–Leibler: as expectation maximisation, Hofmann, Machine Learning 42, 2001).
    """

    extrapolate: bool = True
    joint: bool = True

    needs: ClassVar[tuple[type, ...]] = (HasSplit,)
    accepts: ClassVar[tuple[type, ...]] = (HasSurrogate, HasSums)
    monotone: ClassVar[bool] = True
    gathers_once: ClassVar[bool] = False
    traps_zeros: ClassVar[bool] = True

    @property
    def elementwise(self) -> bool:
        """True: the halves have the size of x."""
        return True

    def prepare(self, loss: Any, other: Array) -> Stats:
        """Nothing: both halves come with the data."""
        del loss, other
        return ()

    def gather(self, term: Term) -> Pulled:
        """The halves of the loss, pulled back to the factor."""
        return term.pulled()

    def update(self, f: Array, loss: Any, prepared: Stats, gathered: Pulled, penalty: Penalty, moment: Moment) -> Array:
        """f̃ times the root of the surrogates, at least the floor; their minimiser among factors of the right sums."""
        surrogate = self.majoriser(f, loss, prepared, gathered, penalty, moment)
        return stepped(f, surrogate, penalty, moment.floor, moment.whole)

    def majoriser(
        self, f: Array, loss: Any, prepared: Stats, gathered: Pulled, penalty: Penalty, moment: Moment
    ) -> Surrogate:
        """The surrogates of loss and regularizers; the longer one of the loss where a step may be taken back."""
        del prepared
        halves = gathered.formed()
        longer = not moment.safe and offers(loss, HasEager)
        return plus((loss.eager if longer else loss.surrogate)(halves), *penalty.surrogates(f))

    def constant(self, loss: Any, x: Block) -> float:
        """0: `value` gives the whole loss."""
        del loss, x
        return 0.0

    def value(self, term: Term, f: Array, prepared: Stats, gathered: Stats) -> float:
        """The loss, where the next gathering needs ŷ formed anyway."""
        del f, prepared, gathered
        return term.value()

    def ahead(self, f: Array, past: Array, weight: float) -> Array:
        """f + weight · max(f − past, 0): never below f, so no entry comes near zero by it."""
        if weight == 0:
            return f
        further: Array = f + f.dtype.type(weight) * np.maximum(f - past, 0)
        return further

    def moved(self, gathered: Pulled, term: Term) -> Pulled:
        """The positive half with the other factor as it is now; the negative one stays."""
        pos = term.loss.positive(term.y)
        return Pulled((pos.T if term.turned else pos).dot(term.other), gathered.neg)
