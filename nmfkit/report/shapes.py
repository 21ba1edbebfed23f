"""What rows and features are to the eye: pixels of an image, points of an axis, or neither."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import UsageError
from nmfkit.report.thinned import Image
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

    rows: Image | None = None
    features: Image | None = None
    axis: Axis | None = None

    @property
    def plain(self) -> bool:
        """Whether features are neither pixels nor points of an axis."""
        return self.features is None and self.axis is None


def image_shape(text: str) -> Image:
    """`H,W`, or `H,W,columns` where pixels stand column by column; raises `UsageError`."""
    pieces = [piece.strip() for piece in text.lower().replace("x", ",").replace("×", ",").split(",")]
    sides, order = pieces[:2], pieces[2:]
    if len(sides) != 2 or not all(s.isdecimal() and int(s) > 0 for s in sides) or order not in ([], ["columns"]):
        raise UsageError(
            f"image-shape {text!r} is not H,W: two whole numbers ≥ 1, such as 28,28; or 28,28,columns where pixels "
            "stand column by column, as MATLAB has them"
        )
    return Image(int(sides[0]), int(sides[1]), by_columns=bool(order))


def shapes(result: Result, asked: str | None) -> Shapes:
    """What the run's source says of its rows and features; `asked` wins. Raises `UsageError` where it does not fit."""
    m, n = result.shape
    about = result.attributes["source"].get("about") or {}
    rows, features = _pair(about.get("row_image"), m), _pair(about.get("feature_image"), n)
    if asked is not None:
        image = image_shape(asked)
        if image.pixels not in (m, n):
            raise UsageError(
                f"image-shape {image.height},{image.width} has {image.pixels:,} pixels, and the run has {n:,} features "
                f"and {m:,} rows: neither are the pixels of such an image"
            )
        rows, features = (image, None) if image.pixels != n else (None, image)
    return Shapes(rows, features, _axis(about.get("axis"), n))


def _pair(stored: Any, count: int) -> Image | None:
    if not isinstance(stored, list | tuple) or len(stored) != 2 or int(stored[0]) * int(stored[1]) != count:
        return None
    return Image(int(stored[0]), int(stored[1]))


def _axis(stored: Any, n: int) -> Axis | None:
    if not isinstance(stored, Mapping) or len(stored.get("values", ())) != n:
        return None
    values = np.asarray(stored["values"], np.float64)
    if not np.isfinite(values).all() or values.min() == values.max():
        return None
    return Axis(str(stored.get("name", "axis")), str(stored.get("unit", "") or ""), values)
