"""The exchange format of exact rules: a quadratic in one factor."""

from __future__ import annotations

from typing import NamedTuple

from nmfkit.blocks import Array


class Gram(NamedTuple):
    """½ tr(F Q Fᵀ) − ⟨F, C⟩ for a factor F (p, r): `q` (r, r) symmetric, `c` broadcastable to (p, r).

    The loss gives Q = otherᵀ other and C = X other; regularizers give theirs (L2: Q = λI, C = 0; L1: Q = 0,
    C = −λ), and quadratics add by adding `q` and `c`.
    """

    q: Array
    c: Array

    def plus(self, other: Gram) -> Gram:
        """The sum of two quadratics."""
        return Gram(self.q + other.q, self.c + other.c)
