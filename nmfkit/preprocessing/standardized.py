"""Columns of mean 0 and standard deviation 1: z = (x − mean) / scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import DataError
from nmfkit.preprocessing.moments import Moments

ROUNDING = 16
"""Units in the last place of the mean, in float64, below which a standard deviation is nothing but rounding."""


@dataclass(frozen=True)
class Standard:
    """What each column is shifted and scaled by: `mean` (n,), and `scale` (n,), 0 where a column is constant.

    A constant column has z = 0, for other data too. With `clip`, z lies between −clip and clip.
    """

    mean: Array
    scale: Array
    clip: float | None = None

    @classmethod
    def of(cls, moments: Moments, dtype: Any) -> Standard:
        """By mean and population standard deviation, in `dtype`.

        A column is constant where its standard deviation is at most `ROUNDING` · 2⁻⁵² times its mean, or below what
        `dtype` can divide by. Raises `DataError` where all columns are, or where squares overflow.
        """
        size, deviation, limits = np.abs(moments.mean), moments.deviation, np.finfo(dtype)
        _refuse_large(np.maximum(size, deviation), float(limits.max))
        least = np.maximum(ROUNDING * float(np.finfo(np.float64).eps) * size, float(limits.smallest_normal))
        scale = np.where(deviation > least, deviation, np.zeros_like(deviation))
        if not bool(np.any(scale)):
            why = ", for it has 1 sample" if moments.count == 1 else ""
            raise DataError(
                f"every column of the matrix is constant{why}: nothing is left of it once it is standardized"
            )
        return cls(moments.mean.astype(dtype), scale.astype(dtype))

    @property
    def inverse(self) -> Array:
        """1 / scale (n,), 0 where a column is constant."""
        varies = self.scale > 0
        inverse: Array = varies / np.where(varies, self.scale, np.ones_like(self.scale))
        return inverse

    def into(self, z: Array, x: Array) -> Array:
        """`z` (k, n), filled with what becomes of `x` (k, n)."""
        return self._scaled(z, x, self.mean, self.inverse)

    def at_zero(self) -> Array:
        """What becomes of a row of zeros, (n,)."""
        return self._scaled(np.empty_like(self.mean), np.zeros_like(self.mean), self.mean, self.inverse)

    def at(self, x: Array, columns: Array) -> Array:
        """What becomes of entries `x` (k,) of columns (k,)."""
        z = np.empty_like(x, dtype=self.mean.dtype)
        return self._scaled(z, x, np.take(self.mean, columns), np.take(self.inverse, columns))

    def _scaled(self, z: Array, x: Array, mean: Array, inverse: Array) -> Array:
        np.subtract(x, mean, out=z)
        z *= inverse
        if self.clip is not None:
            np.minimum(z, self.clip, out=z)
            np.maximum(z, -self.clip, out=z)
        return z

    def back(self, z: Array) -> Array:
        """x (k, n) of z (k, n): z · scale + mean."""
        x: Array = z * self.scale
        x += self.mean
        return x


def _refuse_large(sizes: Array, most: float) -> None:
    fits = sizes <= most
    if not bool(np.all(fits)):
        column = int(np.argmin(fits))
        raise DataError(f"column {column} has entries too large to standardize: divide it by a constant first")
