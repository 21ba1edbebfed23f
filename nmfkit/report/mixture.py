"""A component as a mixture of a few known ones: what two processes that always act together look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nmfkit.blocks import Array

MOST = 3
"""Known components in a mixture, at most."""
GAIN = 0.01
"""How much one more of them must add to the cosine to be taken in."""


@dataclass(frozen=True)
class Mixture:
    """Known components and their parts of the mixture, the largest first; the parts add up to 1."""

    names: tuple[str, ...]
    parts: tuple[float, ...]
    cosine: float


def mixture(component: Array, known: Array, names: Sequence[str], most: int = MOST, gain: float = GAIN) -> Mixture:
    """The mixture of at most `most` rows of `known` (k, n) closest to `component` (n,) ≥ 0, one added at a time.

    Weights are those of nonnegative least squares on what has been taken in. The next one is that which takes the
    cosine furthest, if by `gain` at least. A component that is all zero is like nothing.
    """
    size = float(np.linalg.norm(component))
    if size == 0:
        return Mixture((), (), 0.0)
    target, rows = component / size, known / np.linalg.norm(known, axis=1, keepdims=True)
    taken: tuple[int, ...] = ()
    cosine, weights = 0.0, np.zeros(0)
    while len(taken) < min(most, len(rows)):
        tried = [((*taken, j), *_fitted(target, rows[[*taken, j]])) for j in range(len(rows)) if j not in taken]
        chosen, found, better = max(tried, key=lambda one: one[2])
        if better < cosine + gain:
            break
        taken, weights, cosine = chosen, found, better
    # Parts are those of the sums, as counts are shared out, not of the lengths.
    masses = weights * rows[list(taken)].sum(axis=1)
    order = [i for i in np.argsort(-masses, kind="stable") if masses[i] > 0]
    total = float(masses.sum()) or 1.0
    parts = tuple(float(masses[i] / total) for i in order)
    return Mixture(tuple(names[taken[i]] for i in order), parts, cosine)


def _fitted(target: Array, rows: Array) -> tuple[Array, float]:
    """Weights of `rows` by nonnegative least squares, and the cosine between what they make and the target."""
    from scipy.optimize import nnls

    weights, _ = nnls(rows.T, target)
    made = weights @ rows
    size = float(np.linalg.norm(made))
    return weights, min(1.0, float(made @ target) / size) if size > 0 else 0.0
