"""Images that are shown smaller than they are."""

from __future__ import annotations

import numpy as np

from nmfkit.blocks import Array

SIDE, SMALL, MANY = 240, 100, 40
"""Pixels of the longer side that are shown at most; of each of more images than so many, fewer."""


def thinned(shape: tuple[int, int], images: int = 1) -> tuple[Array, tuple[int, int]]:
    """The numbers of the pixels that are shown of an image, every so many row by row, and their shape.

    `images` is how many are shown together.
    """
    height, width = shape
    step = -(-max(height, width) // (SIDE if images <= MANY else SMALL))
    numbers = np.arange(0, height, step)[:, None] * width + np.arange(0, width, step)[None, :]
    return numbers.ravel(), (numbers.shape[0], numbers.shape[1])
