"""What rows and features are to the eye: pixels of an image, points of an axis, or neither."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import UsageError
from nmfkit.result import Result


@dataclass(frozen=True)
class Axis:
    """The features' physical axis: `values` (n,)."""

    name: str
    unit: str
    values: Array = field(repr=False)

    @property
    def title(self) -> str:
        """Name and unit, as a picture shows them."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True)
class Shapes:
    """The image that the rows are pixels of, the one that features are pixels of, and the features' axis."""

    rows: tuple[int, int] | None = None
    features: tuple[int, int] | None = None
    axis: Axis | None = None


def image_shape(text: str) -> tuple[int, int]:
    """`H,W` as two numbers; raises `UsageError`."""
    pieces = text.lower().replace("x", ",").replace("×", ",").split(",")
    if len(pieces) != 2 or not all(p.strip().isdecimal() and int(p) > 0 for p in pieces):
        raise UsageError(f"image-shape {text!r} is not H,W: two whole numbers ≥ 1, such as 28,28")
    return int(pieces[0]), int(pieces[1])


def shapes(result: Result, asked: str | None) -> Shapes:
    """What the run's source says of its rows and features; `asked` wins. Raises `UsageError` where it does not fit."""
    m, n = result.shape
    about = result.attributes["source"].get("about") or {}
    rows, features = _pair(about.get("row_image"), m), _pair(about.get("feature_image"), n)
    if asked is not None:
        height, width = image_shape(asked)
        if height * width not in (m, n):
            raise UsageError(
                f"image-shape {height},{width} has {height * width:,} pixels, and the run has {n:,} features and "
                f"{m:,} rows: neither are the pixels of such an image"
            )
        rows, features = ((height, width), None) if height * width != n else (None, (height, width))
    return Shapes(rows, features, _axis(about.get("axis"), n))


def _pair(stored: Any, count: int) -> tuple[int, int] | None:
    if not isinstance(stored, list | tuple) or len(stored) != 2 or int(stored[0]) * int(stored[1]) != count:
        return None
    return int(stored[0]), int(stored[1])


def _axis(stored: Any, n: int) -> Axis | None:
    if not isinstance(stored, Mapping) or len(stored.get("values", ())) != n:
        return None
    values = np.asarray(stored["values"], np.float64)
    if not np.isfinite(values).all() or values.min() == values.max():
        return None
    return Axis(str(stored.get("name", "axis")), str(stored.get("unit", "") or ""), values)
