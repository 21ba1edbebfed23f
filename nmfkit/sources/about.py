"""What the rows and features of a matrix are: pixels of an image, points of a physical axis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nmfkit.errors import DataError

Image = tuple[int, int]


@dataclass(frozen=True)
class Axis:
    """The features' physical axis: what it measures, in which unit, and the value of each feature (n,)."""

    name: str
    unit: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class About:
    """What rows and features are, as far as it is known.

    `row_image`: the rows are the pixels of an image of (H, W), row by row; `feature_image`: the features are.
    `axis`: the features are points of a physical axis, such as frequencies in Hz or wavelengths in nm.
    """

    row_image: Image | None = None
    feature_image: Image | None = None
    axis: Axis | None = None

    def __bool__(self) -> bool:
        return any(part is not None for part in (self.row_image, self.feature_image, self.axis))

    def turned(self) -> About:
        """That of the transpose, whose axis runs along the rows and is left out."""
        return About(row_image=self.feature_image, feature_image=self.row_image)

    def to_dict(self) -> dict[str, Any]:
        """What is known, as JSON can hold it."""
        known: dict[str, Any] = {
            name: list(image)
            for name, image in (("row_image", self.row_image), ("feature_image", self.feature_image))
            if image is not None
        }
        if self.axis is not None:
            known["axis"] = {"name": self.axis.name, "unit": self.axis.unit, "values": list(self.axis.values)}
        return known

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> About:
        """What `to_dict` gave; raises `ValueError` for anything else."""
        try:
            axis = stored.get("axis")
            return cls(
                row_image=_image(stored.get("row_image")),
                feature_image=_image(stored.get("feature_image")),
                axis=axis and Axis(str(axis["name"]), str(axis["unit"]), tuple(map(float, axis["values"]))),
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{stored!r} does not describe rows and features") from error

    def faults(self, shape: tuple[int, int]) -> list[str]:
        """What does not fit a matrix of that shape, in words."""
        found = []
        for what, image, count in (("rows", self.row_image, shape[0]), ("features", self.feature_image, shape[1])):
            if image is not None and (min(image) < 1 or math.prod(image) != count):
                found.append(f"an image of {image[0]} × {image[1]} pixels does not fit {count} {what}")
        if self.axis is not None and len(self.axis.values) != shape[1]:
            found.append(f"an axis of {len(self.axis.values)} values does not fit {shape[1]} features")
        return found


def about_of(source: Any) -> About | None:
    """What `source` says of its rows and features, None where it says nothing."""
    about = getattr(source, "about", None)
    return about if isinstance(about, About) and about else None


def fitting(about: About | None, shape: tuple[int, int], uri: str) -> About | None:
    """`about`; raises `DataError` where it does not fit a matrix of that shape."""
    if about is not None and (faults := about.faults(shape)):
        raise DataError(f"{uri}: {'; '.join(faults)}")
    return about


def _image(stored: Any) -> Image | None:
    if stored is None:
        return None
    height, width = stored
    return int(height), int(width)
