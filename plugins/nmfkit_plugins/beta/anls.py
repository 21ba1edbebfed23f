"""Alternating nonnegative least squares: each factor at its minimum, by block principal pivoting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nmfkit import kernels
from nmfkit.blocks import Array
from nmfkit.protocols import Moment, Penalty
from nmfkit_plugins.beta.quadratic import QuadraticRule, total


@dataclass(frozen=True)
class ANLS(QuadraticRule):
    """Exact minimisation of a whole factor: argmin over F ≥ 0 of ½ tr(F Q Fᵀ) − ⟨F, C⟩.

    With Q, C from the loss and the regularizers; each row by block principal pivoting, from the entries that are
    positive already. Kim & Park, SIAM J. Sci. Comput. 33(6), 2011.
    """

    extrapolate: bool = True

    def update(self, f: Array, loss: Any, prepared: Array, gathered: Array, penalty: Penalty, moment: Moment) -> Array:
        """The minimiser; of many, one near `f`."""
        del loss
        q, c = total(f, prepared, gathered, penalty)
        dtype = np.result_type(f, c)
        return kernels.nnls(q, c.astype(dtype, copy=False), f, whole=moment.whole)
