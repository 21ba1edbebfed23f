"""Sequential coordinate descent for Kullback–Leibler: Newton steps in one entry of W after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit import kernels
from nmfkit.blocks import CSR, Array, Block
from nmfkit.protocols import HasEntrywise, HasJoint, Moment, Penalty, Stats, Term
from nmfkit_plugins.beta.multiplicative import Multiplicative


@dataclass(frozen=True)
class CoordinateDescent(Multiplicative):
    """Rows of W by `inner` sweeps of damped Newton steps in each coordinate, H by the multiplicative rule.

    A row's ŷ and 1/ŷ at its entries are kept up to date, so that a step costs two multiplications an entry. Rows see
    their data, which H, whose data are everywhere, cannot: its steps come from sums. Hsieh & Dhillon, KDD 2011; Lin &
    Boutros, BMC Bioinformatics 21, 2020.
    """

    inner: int = 2
    joint: ClassVar[bool] = False  # type: ignore[misc]

    needs: ClassVar[tuple[type, ...]] = (HasJoint,)
    accepts: ClassVar[tuple[type, ...]] = (HasEntrywise,)

    def __post_init__(self) -> None:
        if self.inner < 1:
            raise ValueError(f"inner must be at least 1, not {self.inner}")

    @property
    def elementwise(self) -> bool:
        """True: the halves have the size of x."""
        return True

    def prepare(self, loss: Any, other: Array) -> Stats:
        """The column sums of the other factor."""
        del loss
        return np.sum(other, axis=0, dtype=np.float64)

    def update_rows(self, f: Array, term: Term, prepared: Stats, penalty: Penalty, moment: Moment) -> Array:
        """New rows of W; no step raises the objective of its row."""
        values, indices, indptr = _pattern(term.x)
        weights = [part.entrywise() for part in penalty.parts]
        l1, l2 = sum(a for a, _ in weights), sum(b for _, b in weights)
        sums = prepared.astype(f.dtype)
        return kernels.scd_rows(
            values, indices, indptr, f, term.y.v, sums, self.inner, l1, l2, moment.floor, whole=moment.whole
        )


def _pattern(x: Block) -> tuple[Array, Array, Array]:
    """The entries > 0 in compressed rows: at all others the loss is ŷ."""
    if isinstance(x, CSR):
        return x.values, x.indices, x.indptr
    dense = x.dense()
    rows, columns = np.nonzero(dense)
    counts = np.sum(dense > 0, axis=1)
    indptr = np.concatenate((np.zeros_like(counts[:1]), np.cumsum(counts)))
    return dense[rows, columns], columns, indptr
