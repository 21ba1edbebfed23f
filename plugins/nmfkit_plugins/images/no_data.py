"""The value that stands for pixels that were not measured."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.errors import DataError


def blank(
    stored: npt.NDArray[Any],
    values: npt.NDArray[Any],
    mark: float | None,
    *,
    missing: str,
    where: str,
    first: int = 0,
) -> None:
    """Make entries of `values` NaN where those of `stored` (rows, bands) are the `mark`.

    Raises `DataError` naming the first pixel, counted from `first`, unless `missing` is "nan".
    """
    if mark is None:
        return
    hidden = np.isnan(stored) if math.isnan(mark) else stored == mark
    if not hidden.any():
        return
    if missing == "nan":
        values[hidden] = np.nan
        return
    pixel, band = (int(i) for i in np.argwhere(hidden)[0])
    raise DataError(
        f"{where}: pixel {first + pixel}, band {band} holds {mark:g}, which stands for no data; "
        "read such entries as missing with --missing nan"
    )
