"""A matrix that the components should stay near to."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import UsageError
from nmfkit_plugins.beta.divergence import beta_divergence
from nmfkit_plugins.deep.coupling import Coupling


class Prior(Coupling):
    """λ D_β(H, H₀): a regularizer that holds H near a known H₀ > 0 of the same shape, as layers are held together.

    Where λ is 0 the fit is free, and as λ grows H goes to H₀. Leplat, Hien, Onwunta & Gillis, Neural Computation
    36(11), 2024, remark 1. H₀ is (r, n), and zeros in it are lifted to 1e-16 of its mean. Raises `ValueError` where it
    is no nonnegative matrix or λ < 0, `UsageError` where its shape is not that of H.
    """

    couples_rows: ClassVar[bool] = True

    def __init__(self, weight: float, h: Array, beta: float = 1.0) -> None:
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"the weight must be a finite number ≥ 0, not {weight!r}")
        near = np.asarray(h, dtype=np.float64)
        if near.ndim != 2 or not np.isfinite(near).all() or (near < 0).any() or not near.any():
            raise ValueError("a prior is a matrix of finite entries ≥ 0 that are not all zero")
        super().__init__(beta_divergence(beta), weight, np.maximum(near, 1e-16 * near.mean()).T)

    def stat(self, f: Array) -> float:
        """Σ d(h, h₀)."""
        if f.shape != self.target.shape:
            wanted, found = self.target.shape[::-1], f.shape[::-1]
            raise UsageError(f"the prior has shape {wanted}, and the components have {found}")
        return super().stat(f)

    def surrogate(self, f: Array, stat: Any) -> Any:
        """That of the divergence, in the dtype of `f`."""
        return Coupling(self.loss, self.weight, self.target.astype(f.dtype)).surrogate(f, stat)
