"""Standard scores of a dense tile, folded, in one pass over it."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from nmfkit.kernels.cpu.compiling import compiled, inlined
from nmfkit.kernels.cpu.layout import frozen

Array = npt.NDArray[Any]


def folded_scores(x: Array, mean: Array, inverse: Array, clip: float, y: Array) -> None:
    """`y` (rows, 2n), contiguous, becomes [max(z, 0), max(−z, 0)] of z = (x − mean) inverse, at most `clip`."""
    _fold(frozen(x), frozen(mean, x.dtype), frozen(inverse, x.dtype), x.dtype.type(clip), y)


@compiled
def _fold(x: Any, mean: Any, inverse: Any, clip: Any, y: Any) -> None:
    n = x.shape[1]
    for i in range(x.shape[0]):
        # In two loops over a row: one with five arrays at once is not vectorised.
        _scores(x[i], mean, inverse, y[i, n:])
        _halves(y[i, :n], y[i, n:], clip)


@inlined
def _scores(x: Any, mean: Any, inverse: Any, z: Any) -> None:
    for j in range(len(x)):
        z[j] = (x[j] - mean[j]) * inverse[j]


@inlined
def _halves(left: Any, right: Any, clip: Any) -> None:
    for j in range(len(left)):
        z = right[j]
        above = z if z > 0 else type(z)(0)
        below = above - z
        left[j] = above if above < clip else clip
        right[j] = below if below < clip else clip
