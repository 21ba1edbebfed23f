"""Pictures inside the page: figures of matplotlib's, and pixels as they are."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np

from nmfkit.blocks import Array
from nmfkit.report.figures.style import DIVERGING, MAP, rendered
from nmfkit.report.html import Html, el
from nmfkit.report.thinned import Image, thinned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARPEST = 120_000
"""Bytes of a drawing of lines that are no more than the sharpness is worth; larger ones become pixels."""
SHARP = 130
"""Pixels of a side up to which each is shown as a square."""


def picture(figure: Figure, text: str, how: str) -> Html:
    """A figure with `text` for those who cannot see it, and a sentence on how to read it."""
    drawn = rendered(figure, "svg")
    kind, content = ("svg+xml", drawn) if len(drawn) <= SHARPEST else ("png", rendered(figure, "png"))
    width, height = figure.get_size_inches() * 96
    image = el("img", src=_inline(kind, content), alt=text, width=round(width), height=round(height))
    return el("figure", image, el("figcaption", how, class_="how"))


def pixels(values: Array, text: str, *, signed: bool = False) -> Html:
    """An image (h, w), from 0 to its largest value, or as far below 0 as above where it is `signed`."""
    from matplotlib.image import imsave

    out = io.BytesIO()
    high = max(float(np.max(np.abs(values))), float(np.finfo(np.float64).tiny))
    low, colours = (-high, DIVERGING) if signed else (0, MAP)
    imsave(out, values, cmap=colours, vmin=low, vmax=high, format="png", metadata={"Software": "nmfkit"})
    height, width = values.shape
    kind = "sharp" if max(height, width) <= SHARP else None
    return el("img", src=_inline("png", out.getvalue()), alt=text, width=width, height=height, class_=kind)


def image(flat: Array, whole: Image, text: str, images: int, *, signed: bool = False) -> Html:
    """A vector of pixels as the image that it is, one of so many `images`."""
    numbers, small = thinned(whole, images)
    return pixels(small.arranged(flat[numbers]), text, signed=signed)


def _inline(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
