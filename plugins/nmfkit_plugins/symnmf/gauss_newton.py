"""Projected Gauss–Newton steps by conjugate gradients, which take no product with A."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit_plugins.symnmf.backtracking import checked, judged, tried
from nmfkit_plugins.symnmf.beginning import gram_of
from nmfkit_plugins.symnmf.projected_gradient import gradient_of
from nmfkit_plugins.symnmf.rules import Facts


@dataclass(frozen=True)
class GaussNewton:
    """H ← max(0, H + P), where P comes by `inner` steps of conjugate gradients towards 2 (P HᵀH + H PᵀH) = −∇φ.

    That is the Gauss–Newton step for φ = ½ ‖A − H Hᵀ‖²; entries that are zero and would become negative are left out
    of it. A step that lowers φ by less than `sigma` of what its slope promises is tried again with `beta` times its
    length; each trial is a sweep. After Hayashi, Aksoy, Ballard & Park, SIMAX 46(1), 2025, who let all entries in and
    take every step whole: held to steps that lower φ, that came to a stop far above the minimum on one graph of two.
    """

    inner: int = 5
    sigma: float = 1e-4
    beta: float = 0.25

    monotone: ClassVar[bool] = True
    signed: ClassVar[bool] = True
    keeps_matrix: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(self.sigma, self.beta)
        if self.inner < 1:
            raise ValueError(f"inner must be at least 1, not {self.inner}")

    def begin(self, h: Array, facts: Facts, matrix: Block | None) -> dict[str, Any]:
        """Nothing."""
        del h, facts, matrix
        return {}

    def move(self, h: Array, product: Array, state: dict[str, Any]) -> tuple[Array, dict[str, Any]]:
        """The whole step from H."""
        gram = gram_of(h)
        gradient = gradient_of(h, gram, product)
        free = ((h > 0) | (gradient < 0)).astype(h.dtype)
        direction = self._solved(h, gram.astype(h.dtype), gradient * free, free)
        return tried(h, direction, gradient, 1.0, state["objective"])

    def refused(self, state: dict[str, Any], objective: float) -> tuple[Array, dict[str, Any]] | None:
        """A shorter step."""
        return judged(state, objective, self.sigma, self.beta)

    def _solved(self, h: Array, gram: Array, gradient: Array, free: Array) -> Array:
        """P after conjugate gradients from 0, zero where not `free`."""
        largest = float(np.max(np.abs(gradient)))
        if largest == 0:
            return np.zeros_like(h)
        scale = h.dtype.type(largest)  # squares of gradients may leave the range of float32
        step, rest = np.zeros_like(h), -gradient / scale
        along, size = rest, _squared(rest)
        first = size
        for _ in range(self.inner):
            image = h.dtype.type(2) * (along @ gram + h @ (along.T @ h)) * free
            curvature = float(np.sum(along * image, dtype=np.float64))
            if not (curvature > 0 and size > first * 1e-20):
                break
            length = size / curvature
            step, rest = step + h.dtype.type(length) * along, rest - h.dtype.type(length) * image
            size, before = _squared(rest), size
            along = rest + h.dtype.type(size / before) * along
        whole: Array = scale * step
        return whole


def _squared(a: Array) -> float:
    return float(np.sum(np.square(a, dtype=np.float64)))
