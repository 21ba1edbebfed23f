"""Steps of all of H that are shortened until they lower the objective as far as the slope promises.

A trial costs a sweep: its objective comes with the product that the next step needs.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from nmfkit.blocks import Array

Trial: TypeAlias = tuple[Array, dict[str, Any]]

MOST = 12
"""Trials of one direction: where none lowers the objective, what it would gain is lost in rounding."""


def checked(sigma: float, beta: float) -> None:
    """Raises `ValueError` unless both are fractions."""
    for name, value in (("sigma", sigma), ("beta", beta)):
        if not 0 < value < 1:
            raise ValueError(f"{name} must be between 0 and 1, not {value}")


def tried(h: Array, direction: Array, gradient: Array | float, step: float, objective: float) -> Trial:
    """max(0, H + step · direction) and the state to judge it by; H has this `objective`.

    `gradient` is that of the objective at H, as an array or as a multiple of the direction.
    """
    base = {"h": h, "direction": direction, "gradient": gradient, "base": objective}
    return _trial(base, step, 1)


def judged(state: dict[str, Any], objective: float, sigma: float, beta: float) -> Trial | None:
    """None if φ(new) − φ(H) ≤ σ ⟨∇φ(H), new − H⟩ (Armijo), another trial with β times the step otherwise.

    After `MOST` trials it is H itself.
    """
    if "h" not in state or objective <= state["base"] + sigma * state["promised"]:
        return None
    if state["trials"] >= MOST:
        return state["h"], {"step": state["step"], "trials": MOST}
    return _trial(state, beta * state["step"], state["trials"] + 1)


def _trial(state: dict[str, Any], step: float, trials: int) -> Trial:
    h, direction, gradient = state["h"], state["direction"], state["gradient"]
    moved = np.maximum(h + h.dtype.type(step) * direction, 0)
    if isinstance(gradient, float):
        promised = gradient * _inner(direction, moved - h)
    else:
        promised = _inner(gradient, moved - h)
    kept = {"h": h, "direction": direction, "gradient": gradient, "base": state["base"]}
    return moved, {**kept, "step": step, "trials": trials, "promised": promised}


def _inner(a: Array, b: Array) -> float:
    return float(np.sum(a * b, dtype=np.float64))
