"""One factor of a case as a rule or a surrogate sees it, so that a law is written once for W and H."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.lowrank import LowRank
from nmfkit.protocols import Halves, Term
from nmfkit.testing.strategies import Case


@dataclass(frozen=True)
class Side:
    """The factor `f` (rows, r), its data term, and the product ŷ of any other value of it."""

    name: str
    f: Array
    term: Term
    product: Callable[[Array], LowRank]

    def at(self, f: Array) -> Term:
        """The data term with the factor at `f`."""
        return replace(self.term, y=self.product(f))

    def value(self, f: Array) -> float:
        """The loss with the factor at `f`."""
        return float(self.term.loss.value(self.term.x, self.product(f)))

    def halves(self) -> Halves:
        """Both halves of the loss's gradient, pulled back to the factor."""
        return self.term.pulled().formed()


def sides_of(loss: Any, x: Block, case: Case) -> tuple[Side, Side]:
    """Both factors of a case on one block of all rows."""
    w, h = case.w, case.h
    of_w = Side("W", w, Term(loss, x, case.y, h.T), lambda f: LowRank(f, h))
    of_h = Side("H", h.T, Term(loss, x, case.y, w, turned=True), lambda f: LowRank(w, f.T))
    return of_w, of_h


def majorant(surrogate: Any, f: Array, t: Array) -> tuple[float, float]:
    """f̃ Σ_p c_p (t^p − 1) / p (ln t at p = 0), and the sum of its terms' sizes."""
    total = size = 0.0
    for power, c in surrogate.items():
        terms = f * c * (np.log(t) if power == 0 else (t**power - 1) / power)
        total += float(np.sum(terms))
        size += float(np.sum(np.abs(terms)))
    return total, size
