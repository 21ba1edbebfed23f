"""How the components of one level are linked to those of the level before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.levels import levels_of
from nmfkit.result import Result

if TYPE_CHECKING:
    from nmfkit.report.study import Components, Study


@dataclass(frozen=True)
class Links:
    """The links of a `level` (2 or more) to the level before, components in the order shown.

    `parts` (r, p): of all that component k adds to the fit, the part that goes through component j of the level before;
    each row adds up to 1, or to 0 for a dead component. With `mixes`, component k is a mixture of those of the level
    before (X ≈ W₂ H₂ H₁); otherwise those are mixtures of the components of this level (X ≈ W₁ W₂ H₂).
    """

    level: int
    mixes: bool
    parts: Array = field(repr=False)
    flow: Array = field(repr=False)
    """The same as parts of the whole fit: each row adds up to the component's share."""

    def strongest(self, k: int, most: int, least: float = 0.01) -> list[tuple[int, float]]:
        """The components of the level before that component k is linked to, from 0, and their parts."""
        order = np.argsort(-self.parts[k], kind="stable")[:most]
        return [(int(j), float(self.parts[k, j])) for j in order if self.parts[k, j] >= least]


def links(result: Result, components: Sequence[Components]) -> tuple[Links, ...]:
    """Those of each level from the second on; none for a model without levels.

    The mass that goes through k and j does not depend on how factors are scaled: it is Σᵢ (W_ℓ)ᵢₖ · h_kj · Σ v_j where
    the components of a level are mixtures h of those before, and Σᵢ (W_ℓ₋₁)ᵢⱼ · w_jk · Σ v_k where W_ℓ = W_ℓ₋₁ w.
    """
    current = result.state.current
    levels = levels_of(result.model, current)
    factors = result.model.factors(current)
    found = []
    for (number, level), (before, after) in zip(enumerate(levels[1:], 2), pairwise(components), strict=True):
        at = np.ix_(after.order, before.order)
        mixes = level.chain == levels[number - 2].chain
        if mixes:
            mass = np.asarray(factors[level.components[0]], np.float64)[at] * before.sizes
        else:
            mass = np.asarray(factors[level.chain[-1]], np.float64).T[at] * before.usage
        parts = mass / np.where((total := mass.sum(axis=1, keepdims=True)) > 0, total, 1)
        found.append(Links(number, mixes, parts, parts * after.shares[:, None]))
    return tuple(found)


def levels_told(study: Study) -> Iterator[dict[str, Any]]:
    """Of each level, in plain values: its error, its layer's losses, and how it is linked to the level before."""
    linked = {link.level: link.parts.tolist() for link in study.links}
    errors = study.residuals.errors if study.residuals else (None,) * len(study.components)
    assert study.losses is not None
    rows = zip(study.components, errors, *study.losses, strict=True)
    for number, (found, error, start, end, weight) in enumerate(rows, 1):
        yield {
            "level": number,
            "rank": found.rank,
            "relative_error": error,
            "sparsity": mean(found.sparsity_of_v),
            "layer_loss": float(end),
            "layer_loss_at_start": float(start),
            "ratio": float(end / start) if start > 0 else None,
            "weight": float(weight),
            "parts": linked.get(number),
        }


def mean(values: Array) -> float | None:
    """The mean of those that are finite, None without any."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else None
