"""How well components are recovered, up to their order, their scale and their sign."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import UsageError


def correlation_error(truth: Any, found: Any) -> float:
    """Σ_i min over j and σ of ‖t_i − σ f_j‖², rows of `truth` (r, n) and `found` (k, n) made of length 1.

    The total correlation error of Li & Liang (ICML 2017), between 0 and r. It is no matching: several of `truth` may be
    near the same row of `found`, and σ may be negative. Raises `UsageError` where the rows are not comparable.
    """
    return float(np.sum(np.min(squared_distances(truth, found), axis=1)))


def matched_error(truth: Any, found: Any) -> float:
    """The mean over i of min over σ of ‖t_i − σ f_π(i)‖², for the matching π of rows that makes it least.

    Rows of `truth` (r, n) and `found` (k, n) have length 1, each row of `found` is matched to one of `truth` at most,
    and a row of `truth` without a partner counts 1. Kuhn, Naval Research Logistics Quarterly 2, 1955. Raises
    `UsageError` where the rows are not comparable.
    """
    from scipy.optimize import linear_sum_assignment

    distances = squared_distances(truth, found)
    matched = linear_sum_assignment(distances)
    alone = len(distances) - len(matched[0])
    return float((np.sum(distances[matched]) + alone) / len(distances))


def squared_distances(truth: Any, found: Any) -> Array:
    """min over σ of ‖t_i − σ f_j‖² (r, k), of rows of length 1.

    From the residuals themselves: 1 − ⟨t, f⟩² is the same but for rounding, which hides whatever is below 1e-16.
    """
    t, f = _unit("truth", truth), _unit("found", found)
    if t.shape[1] != f.shape[1]:
        raise UsageError(f"truth has {t.shape[1]} features, and found has {f.shape[1]}")
    return np.stack([np.sum((row - (f @ row)[:, None] * f) ** 2, axis=1) for row in t])


def _unit(name: str, components: Any) -> Array:
    """Rows of length 1; a row of zeros, which is near nothing, stays."""
    rows = np.asarray(components, dtype=np.float64)
    if rows.ndim != 2 or not rows.size or not np.all(np.isfinite(rows)):
        raise UsageError(f"{name} must be a matrix of finite numbers with a row for each component")
    largest = np.max(np.abs(rows), axis=1, keepdims=True)  # squares of the entries may be out of range
    rows = rows / np.where(largest > 0, largest, 1)
    lengths = np.sqrt(np.sum(rows * rows, axis=1, keepdims=True))
    unit: Array = rows / np.where(lengths > 0, lengths, 1)
    return unit
