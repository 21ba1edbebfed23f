"""Images that are shown smaller than they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nmfkit.blocks import Array

SIDE, SMALL, MANY = 240, 100, 40
"""Pixels of the longer side that are shown at most; of each of more images than so many, fewer."""


@dataclass(frozen=True)
class Image:
    """The pixels of an image in a row: row by row, or with `by_columns` column by column, as MATLAB has them."""

    height: int
    width: int
    by_columns: bool = False

    @property
    def pixels(self) -> int:
        """How many there are."""
        return self.height * self.width

    def arranged(self, pixels: Array) -> Array:
        """Values of the pixels (height · width, …) as the image (height, width, …)."""
        if not self.by_columns:
            return pixels.reshape(self.height, self.width, *pixels.shape[1:])
        return np.swapaxes(pixels.reshape(self.width, self.height, *pixels.shape[1:]), 0, 1)


def thinned(image: Image, images: int = 1) -> tuple[Array, Image]:
    """The numbers of the pixels that are shown of an image, ascending, every so many both ways; and what they make.

    `images` is how many are shown together.
    """
    outer, inner = (image.width, image.height) if image.by_columns else (image.height, image.width)
    step = -(-max(outer, inner) // (SIDE if images <= MANY else SMALL))
    numbers = np.arange(0, outer, step)[:, None] * inner + np.arange(0, inner, step)[None, :]
    sides = numbers.shape[::-1] if image.by_columns else numbers.shape
    return numbers.ravel(), Image(int(sides[0]), int(sides[1]), image.by_columns)
