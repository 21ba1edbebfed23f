"""Exact steps in one entry of H after the other, with A in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit import kernels
from nmfkit.blocks import CSR, Array, Block
from nmfkit_plugins.symnmf.rules import Facts


@dataclass(frozen=True)
class Coordinates:
    """Each entry of H in turn to its best value ≥ 0, `inner` times over: a root of a cubic, by formula.

    In order, for every step sees those before: neither threads nor workers share the work, and A is in memory.
    Vandaele, Gillis, Lei, Zhong & Dhillon, IEEE Trans. Signal Process. 64(21), 2016.
    """

    inner: int = 1

    monotone: ClassVar[bool] = True
    signed: ClassVar[bool] = True
    keeps_matrix: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.inner < 1:
            raise ValueError(f"inner must be at least 1, not {self.inner}")

    def begin(self, h: Array, facts: Facts, matrix: Block | None) -> dict[str, Any]:
        """A in compressed rows."""
        del h, facts
        assert matrix is not None  # keeps_matrix
        values, indices, indptr = _compressed(matrix)
        return {"values": values, "indices": indices, "indptr": indptr}

    def move(self, h: Array, product: Array, state: dict[str, Any]) -> tuple[Array, dict[str, Any]]:
        """H after `inner` sweeps over its entries."""
        del product  # of H before the first step
        return kernels.symmetric_cd(state["values"], state["indices"], state["indptr"], h, self.inner), state

    def refused(self, state: dict[str, Any], objective: float) -> tuple[Array, dict[str, Any]] | None:
        """None: no step raises the objective."""
        del state, objective
        return None


def _compressed(x: Block) -> tuple[Array, Array, Array]:
    if isinstance(x, CSR):
        return x.values, x.indices, x.indptr
    dense = x.dense()
    rows, columns = np.nonzero(dense)
    counts = np.sum(dense != 0, axis=1)
    indptr = np.concatenate((np.zeros_like(counts[:1]), np.cumsum(counts)))
    return dense[rows, columns], columns, indptr
