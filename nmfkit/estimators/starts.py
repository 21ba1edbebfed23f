"""Starting factors as scikit-learn's NMF makes or takes them."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from sklearn.utils import check_array, check_random_state

from nmfkit.blocks import Array
from nmfkit.estimators.errors import ParameterError
from nmfkit.estimators.inputs import is_opened


def given(init: Any, w: Any, h: Any) -> dict[str, Array]:
    """W and H where `init` is `custom`; otherwise nothing, and a warning that they are passed over.

    Raises `ParameterError` where `custom` comes without either.
    """
    factors = {name: f for name, f in (("w", w), ("h", h)) if f is not None}
    if init == "custom":
        if not factors:
            raise ParameterError("init='custom' needs starting factors: fit(X, W=…, H=…), or one of them")
        return {name: check_array(f, dtype=[np.float64, np.float32]) for name, f in factors.items()}
    if factors:
        warnings.warn(
            "When init!='custom', provided W or H are ignored. Set init='custom' to use them as initialization.",
            RuntimeWarning,
            stacklevel=5,
        )
    return {}


def drawn(x: Any, rank: int, random_state: Any) -> dict[str, Array]:
    """|N(0, 1)| · √(mean(X) / rank), first H, then W, as scikit-learn draws them; nothing unless X is in memory."""
    if is_opened(x):
        return {}
    (m, n), rng = x.shape, check_random_state(random_state)
    scale = math.sqrt(max(float(x.mean()), 0.0) / rank)
    h = scale * np.abs(rng.standard_normal(size=(rank, n)).astype(x.dtype, copy=False))
    w = scale * np.abs(rng.standard_normal(size=(m, rank)).astype(x.dtype, copy=False))
    return {"w": w, "h": h}
