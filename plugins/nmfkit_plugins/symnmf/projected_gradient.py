"""Projected gradient steps, as long as they may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit_plugins.symnmf.backtracking import checked, judged, tried
from nmfkit_plugins.symnmf.beginning import gram_of
from nmfkit_plugins.symnmf.rules import Facts


@dataclass(frozen=True)
class ProjectedGradient:
    """H ← max(0, H − a ∇φ / λmax(HᵀH)) with ∇φ = 2 (H HᵀH − A H), and `a` at most `longest`, for all entries alike.

    A step that lowers φ by less than `sigma` of what its slope promises is tried again with `beta` times its length;
    each trial is a sweep. One that was taken at once is followed by one of 1/`beta` times its length. Kuang, Yun &
    Park, J. Global Optim. 62, 2015, whose steps are relative to 1, for matrices of norm 1, and whose β is 0.1: that
    took more sweeps in trials.
    """

    sigma: float = 0.1
    beta: float = 0.25
    longest: float = 1.0

    monotone: ClassVar[bool] = True
    signed: ClassVar[bool] = True
    keeps_matrix: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(self.sigma, self.beta)
        if not self.longest > 0:
            raise ValueError(f"longest must be above 0, not {self.longest}")

    def begin(self, h: Array, facts: Facts, matrix: Block | None) -> dict[str, Any]:
        """The longest step."""
        del h, facts, matrix
        return {"step": self.longest, "trials": 0}

    def move(self, h: Array, product: Array, state: dict[str, Any]) -> tuple[Array, dict[str, Any]]:
        """The first trial of a step from H."""
        gram = gram_of(h)
        size = float(np.linalg.eigvalsh(gram)[-1])
        gradient = gradient_of(h, gram, product)
        if size <= 0:  # H = 0 is stationary
            return h, state
        step = min(state["step"] / self.beta, self.longest) if state["trials"] == 1 else state["step"]
        return tried(h, gradient / h.dtype.type(-size), -size, step, state["objective"])

    def refused(self, state: dict[str, Any], objective: float) -> tuple[Array, dict[str, Any]] | None:
        """A shorter step."""
        return judged(state, objective, self.sigma, self.beta)


def gradient_of(h: Array, gram: Array, product: Array) -> Array:
    """∇φ = 2 (H HᵀH − A H), the gradient of φ = ½ ‖A − H Hᵀ‖²."""
    gradient: Array = h.dtype.type(2) * (h @ gram.astype(h.dtype) - product)
    return gradient
