"""Weights of regularizers that are measured by the loss at the start of a fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nmfkit.executors.passes import passed
from nmfkit.loop import concluded
from nmfkit.protocols import Relative, RowStore, Shared, Stats, Sweep
from nmfkit.scaled import scaled

if TYPE_CHECKING:
    from nmfkit_plugins.beta.nmf import NMF

MOST = 20
"""The most sweeps before the weights are measured."""
SLOW = 1e-3
"""A sweep that lowers the loss by less than this fraction of it is the last one. More would stop many fits where the
first sweeps linger, at the loss of a single component."""


def is_relative(part: Any) -> bool:
    """Whether the part's weight is to be measured."""
    return isinstance(part, Relative) and part.relative


def acting(parts: Sequence[Any], factors: Sequence[float] | None) -> tuple[Any, ...]:
    """The parts times their factors; those still to be measured count nothing."""
    if factors is None:
        return tuple(scaled(part, 0.0) if is_relative(part) else part for part in parts)
    return tuple(scaled(part, factor) for part, factor in zip(parts, factors, strict=True))


def calibrated(model: NMF, rows: RowStore, shared: Shared, sweep: Sweep) -> tuple[RowStore, Shared]:
    """The pair of factors where plain sweeps from `rows` and `shared` become slow, and the weights that fit it.

    A random start has a loss that says nothing of the data: after a few sweeps it is near what the fit will end at.
    """
    before, state = None, shared
    for _ in range(MOST):
        there, now = passed(model, sweep, rows, state)
        new, stats = sweep(model.local, there, now)
        end = concluded(model, state, stats, now)
        state = end.following
        if not end.accepted:
            continue
        rows, pair, loss = new, (now["h"], end.following, stats), model.loss(now, stats)
        if before is not None and not before - loss >= SLOW * before:
            break
        before = loss
    h, following, stats = pair
    return rows, model.begun_at(following, h, _weights(model, loss, h, stats), stats["w.stats"])


def _weights(model: NMF, loss: float, h: Any, stats: Stats) -> dict[str, tuple[float, ...]]:
    """By what each regularizer is multiplied: {"w": (…), "h": (…)}."""
    parts = model.parts
    of_h = tuple(part.stat(h.T) for part in parts.reg_h)
    return {"w": _factors(parts.reg_w, loss, stats["w.stats"]), "h": _factors(parts.reg_h, loss, of_h)}


def _factors(parts: Sequence[Any], loss: float, stats: Sequence[Stats]) -> tuple[float, ...]:
    return tuple(
        float(part.factor(loss, loss, stat)) if is_relative(part) else 1.0
        for part, stat in zip(parts, stats, strict=True)
    )
