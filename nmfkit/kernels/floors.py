"""The least ŷ that may be divided by."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np


@lru_cache(maxsize=64)
def floor_for(dtype: np.dtype[Any], exponent: float) -> float:
    """The least ŷ whose ŷ^−exponent is finite with room to spare, and normal: 0 · ∞ would be NaN, subnormals slow."""
    info = np.finfo(dtype)
    room: float = float(info.max) ** (-0.9 / max(exponent, 1.0))
    return max(float(info.tiny), room)
