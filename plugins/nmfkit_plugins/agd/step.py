"""The step in the components: all gradient steps of a stage at once, from the sums over the samples."""

from __future__ import annotations

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import UsageError

ETAS = ("auto", "official")
"""How long gradient steps are: 1 / λmax(ZᵀZ), or 0.5 / r as in the authors' program."""
TINY = 1e-12
"""Curvatures below this fraction of the largest are no more than rounding."""


def descended(h: Array, s: Array, b: Array, steps: int, eta: float | None = None) -> Array:
    """`h` (r, n) after `steps` gradient steps H ← H + η (Zᵀ X − Zᵀ Z H) on ½ ‖X − Z H‖², Z fixed.

    `s` (r, r) is ZᵀZ and `b` (n, r) XᵀZ; `eta` None is 1 / λmax(ZᵀZ). With S = V diag(l) Vᵀ and p = (1 − ηl)^steps,
    H ← V (p ∘ Vᵀ H) + V (g ∘ Vᵀ Bᵀ) where g = (1 − p) / l, which is η · steps at l = 0: directions that no code uses
    stay as they are. Without limit in `steps` the others end at least squares.
    """
    curvature, v = np.linalg.eigh(s)
    largest = float(curvature[-1])
    if not largest > 0:
        return h
    eta = 1 / largest if eta is None else eta
    kept, gained = powers(np.maximum(curvature, 0) * eta, steps)
    moved: Array = v @ (kept[:, None] * (v.T @ h) + (eta * gained)[:, None] * (v.T @ b.T))
    return moved


def powers(u: Array, steps: int) -> tuple[Array, Array]:
    """p = (1 − u)^steps and (1 − p) / u of numbers 0 ≤ u ≤ 2 (r,), accurate for small ones, too."""
    p = (1 - u) ** steps
    small = np.minimum(u, 0.5)
    lost = np.where(u < 0.5, -np.expm1(steps * np.log1p(-small)), 1 - p)
    some = u > TINY
    return np.where(some, p, 1), np.where(some, lost / np.where(some, u, 1), steps)


def official(s: Array) -> float:
    """0.5 / r for sums `s` (r, r) = ZᵀZ; raises `UsageError` where such steps lead away from any minimum."""
    rank = s.shape[0]
    eta: float = 0.5 / rank
    largest = float(np.linalg.eigvalsh(s)[-1])
    if eta * largest > 2:
        raise UsageError(
            f"eta=official takes steps of 0.5 / rank = {eta:.3g}, and the codes of these data have ZᵀZ with the "
            f"eigenvalue {largest:.3g}: above {2 / eta:.3g} gradient descent diverges. Use eta=auto, whose steps are 1 "
            f"over that eigenvalue, or fewer or smaller samples"
        )
    return eta
