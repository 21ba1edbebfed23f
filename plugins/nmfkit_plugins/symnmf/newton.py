"""Projected Newton steps, a column of H at a time, for small matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.errors import UsageError
from nmfkit_plugins.symnmf.backtracking import checked, judged, tried
from nmfkit_plugins.symnmf.beginning import gram_of
from nmfkit_plugins.symnmf.projected_gradient import gradient_of
from nmfkit_plugins.symnmf.rules import Facts

NEAR = 1e-8
"""An entry below this fraction of the largest one that would go down is held at zero."""
ROUNDING = 1e-8
"""How far the product of a triangular factor and its transpose may be from a matrix that has one, relative to it."""


@dataclass(frozen=True)
class Newton:
    """H ← max(0, H + a P): column j of P solves the system of the Hessian's block 2 (H Hᵀ − A + h_j h_jᵀ + ‖h_j‖² I).

    Only rows and columns of entries that are not held at zero are in it. Where it is not positive definite, the column
    goes down the gradient, divided by 2 ‖h_j‖². Blocks between columns are left out. A step that lowers φ by less than
    `sigma` of what its slope promises is tried again with `beta` times its length; each trial is a sweep. A and a
    matrix of its size are in memory, and a sweep takes up to r n³ operations, so that matrices of more than `most` rows
    are refused. Kuang, Ding & Park, SDM 2012; Kuang, Yun & Park, J. Global Optim. 62, 2015, who keep a factored block
    until its entries change; here it is that of the present H.
    """

    most: int = 3000
    sigma: float = 0.1
    beta: float = 0.1

    monotone: ClassVar[bool] = True
    signed: ClassVar[bool] = True
    keeps_matrix: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checked(self.sigma, self.beta)
        if self.most < 1:
            raise ValueError(f"most must be at least 1, not {self.most}")

    def begin(self, h: Array, facts: Facts, matrix: Block | None) -> dict[str, Any]:
        """A, with every entry.

        Raises `UsageError` where it has too many.
        """
        del h
        if facts.n > self.most:
            raise UsageError(
                f"rule 'newton' solves systems of up to n × n for each component, and A has n = {facts.n} rows, more "
                f"than {self.most}: use --rule pgncg or symhals, or allow it with newton:most={facts.n}"
            )
        assert matrix is not None  # keeps_matrix
        return {"matrix": matrix.dense()}

    def move(self, h: Array, product: Array, state: dict[str, Any]) -> tuple[Array, dict[str, Any]]:
        """The whole step from H."""
        gradient = gradient_of(h, gram_of(h), product)
        wide = h.astype(np.float64, copy=False)
        direction = _directions(wide, gradient.astype(np.float64, copy=False), state["matrix"])
        moved, following = tried(h, direction.astype(h.dtype), gradient, 1.0, state["objective"])
        return moved, {"matrix": state["matrix"], **following}

    def refused(self, state: dict[str, Any], objective: float) -> tuple[Array, dict[str, Any]] | None:
        """A shorter step."""
        back = judged(state, objective, self.sigma, self.beta)
        return None if back is None else (back[0], {"matrix": state["matrix"], **back[1]})


def _directions(h: Array, gradient: Array, matrix: Array) -> Array:
    """P (n, r), zero where entries are held at zero."""
    shared = h @ h.T - matrix
    free = ~((h <= NEAR * np.max(h)) & (gradient > 0))
    columns = [_column(h[:, j], gradient[:, j], np.nonzero(free[:, j])[0], shared) for j in range(h.shape[1])]
    return np.stack(columns, axis=1)


def _column(h: Array, gradient: Array, free: Array, shared: Array) -> Array:
    """Newton's direction in the `free` entries of one column, or that of the gradient."""
    direction, own, slope = np.zeros_like(h), h[free], gradient[free]
    size = max(2 * float(np.sum(h * h)), float(np.finfo(np.float64).tiny))  # the gradient is 0 where the column is
    hessian = 2 * (shared[free[:, None], free] + own[:, None] * own)
    here = np.arange(len(free), like=free)
    hessian[here, here] += size
    direction[free] = -np.linalg.solve(hessian, slope) if _is_definite(hessian) else -slope / size
    return direction


def _is_definite(hessian: Array) -> bool:
    try:
        lower = np.linalg.cholesky(hessian)
    except np.linalg.LinAlgError:
        return False
    # Not everywhere is an error raised where there is no such factor: then what came of it is none.
    if not bool(np.all(np.isfinite(lower)) & np.all(np.diagonal(lower) > 0)):
        return False
    return float(np.linalg.norm(lower @ lower.T - hessian)) <= ROUNDING * float(np.linalg.norm(hessian))
