"""The similarity matrix with its rows and columns by cluster."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from nmfkit.report.clusters import Clusters
from nmfkit.report.figures.style import DIVERGING, FAINT, MAP, canvas, plain_ticks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

APART = 1 / 32
"""Part of a side by which numbers of two digits stand apart."""


def ordered(found: Clusters) -> Figure:
    """Mean similarities; colours follow their roots unless some are below 0, so that faint ones are seen, too."""
    from matplotlib.colors import Normalize, PowerNorm

    assert found.picture is not None
    picture = found.picture
    high, signed = max(float(np.abs(picture).max()), 1e-300), bool(picture.min() < 0)
    norm = Normalize(-high, high) if signed else PowerNorm(0.5, 0, high)
    figure = canvas(7.35, 6.2)
    ax = figure.subplots()
    image = ax.imshow(picture, cmap=DIVERGING if signed else MAP, norm=norm, aspect="auto", interpolation="nearest")
    line = FAINT if signed else "white"
    for edge in found.edges[1:]:
        ax.axhline(edge - 0.5, color=line, lw=0.5, alpha=0.6)
        ax.axvline(edge - 0.5, color=line, lw=0.5, alpha=0.6)
    places, names = told(found, len(picture))
    ax.set_xticks(places, names)
    ax.set_yticks(places, names)
    ax.tick_params(length=0, labelsize=8)
    ax.set(xlabel="cluster", ylabel="cluster")
    for spine in ax.spines.values():
        spine.set_visible(False)
    scale = figure.colorbar(image, ax=ax, shrink=0.9)
    scale.outline.set_visible(False)
    scale.set_label("mean similarity")
    plain_ticks(scale.ax.yaxis)
    return figure


def told(found: Clusters, side: int) -> tuple[list[float], list[str]]:
    """Where in a picture of so many cells which numbers stand: the last one, and of the others the widest first.

    Those that would touch one that is there are left out, and so are clusters without members.
    """
    pairs = list(pairwise([*found.edges, side]))
    there = [k for k, (a, b) in enumerate(pairs) if b > a]
    middles = {k: (pairs[k][0] + pairs[k][1] - 1) / 2 for k in there}
    names = {k: str(k + 1) if k < len(found.sizes) else "none" for k in there}
    shown: list[int] = []
    for k in sorted(there, key=lambda k: (k != there[-1], pairs[k][0] - pairs[k][1])):
        if all(abs(middles[k] - middles[o]) >= _room(names[k], names[o]) * side for o in shown):
            shown.append(k)
    shown.sort()
    return [middles[k] for k in shown], [names[k] for k in shown]


def _room(one: str, other: str) -> float:
    """The part of a side that two texts beside each other take, or one above the other if that is more."""
    return APART * max(0.8, (len(one) + len(other)) / 4)
