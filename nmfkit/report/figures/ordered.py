"""The similarity matrix with its rows and columns by cluster."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from nmfkit.report.clusters import Clusters
from nmfkit.report.figures.style import DIVERGING, FAINT, MAP, canvas, plain_ticks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST = 8
"""Cells that a cluster takes up at least for its number to stand beside it."""


def ordered(found: Clusters) -> Figure:
    """Mean similarities; colours follow their roots unless some are below 0, so that faint ones are seen, too."""
    from matplotlib.colors import Normalize, PowerNorm

    assert found.picture is not None
    picture = found.picture
    high, signed = max(float(np.abs(picture).max()), 1e-300), bool(picture.min() < 0)
    norm = Normalize(-high, high) if signed else PowerNorm(0.5, 0, high)
    figure = canvas(7.2, 6.2)
    ax = figure.subplots()
    image = ax.imshow(picture, cmap=DIVERGING if signed else MAP, norm=norm, interpolation="nearest")
    line = FAINT if signed else "white"
    for edge in found.edges[1:]:
        ax.axhline(edge - 0.5, color=line, lw=0.5, alpha=0.6)
        ax.axvline(edge - 0.5, color=line, lw=0.5, alpha=0.6)
    places = [*found.edges, len(picture)]
    told = [(k, (a + b - 1) / 2) for k, (a, b) in enumerate(pairwise(places)) if b - a >= LEAST]
    names = [str(k + 1) if k < len(found.sizes) else "none" for k, _ in told]
    ax.set_xticks([at for _, at in told], names)
    ax.set_yticks([at for _, at in told], names)
    ax.tick_params(length=0)
    ax.set(xlabel="cluster", ylabel="cluster")
    for spine in ax.spines.values():
        spine.set_visible(False)
    scale = figure.colorbar(image, ax=ax, shrink=0.9)
    scale.outline.set_visible(False)
    scale.set_label("mean similarity")
    plain_ticks(scale.ax.yaxis)
    return figure
