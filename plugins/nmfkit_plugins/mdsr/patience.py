"""How long the loss that a training sees has not fallen."""

from __future__ import annotations

from nmfkit.protocols import Shared

LEAST = 1e-13
"""The mean loss of the batches of an epoch must fall by more than that, for `patience` to begin anew."""


def awaited(stale: Shared, columns: int) -> Shared:
    """How long the mean loss of batches has not fallen, after an epoch if there was one."""
    fresh = {**stale, "sum": 0.0, "rows": 0.0}
    if not stale["rows"]:
        return fresh
    mean = float(stale["sum"]) / (float(stale["rows"]) * columns)
    if mean < stale["least"] - LEAST:
        return {**fresh, "least": mean, "wait": 0}
    return {**fresh, "wait": stale["wait"] + 1}
