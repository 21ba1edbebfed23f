"""How the components of all levels are linked: a tree, or a table of colours where there are too many for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import UsageError
from nmfkit.report.figures.similarity import together
from nmfkit.report.figures.style import FAINT, INK, MAP, OKABE_ITO, WIDTH, canvas, heat, label, numbers
from nmfkit.report.links import Links
from nmfkit.report.study import Components, Study
from nmfkit.report.thinned import thinned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NODES = 150
"""Components of all levels together up to which they are drawn one by one."""
LEAST = 0.06
"""Parts below which a link is not drawn, unless it is the strongest one of its component."""
TURNS = 6
"""How often levels are put in order beside their neighbours."""
TOP, EDGE = 0.45, 0.2
"""Inches above and below the tree."""
WORDS = 3
"""Features by which a component is called."""


def levels(study: Study) -> Figure:
    """The tree of a run with levels; raises `UsageError` for another."""
    if not study.has_levels:
        raise UsageError("the run has a single level, so there are no links to show; kind 'levels' is for deep models")
    return _tree(study) if sum(found.rank for found in study.components) <= NODES else _tables(study)


def _tree(study: Study) -> Figure:
    found = study.components
    most = max(c.rank for c in found)
    pitch = float(np.clip(9.0 / most, 0.2, 0.62))
    tall = TOP + EDGE + pitch * max(most, 4)
    figure = canvas(WIDTH, tall, laid_out=False)
    ax: Any = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, WIDTH), ylim=(0, tall))
    ax.axis("off")
    places = _places([link.flow for link in study.links], [c.rank for c in found])
    heights = [tall - TOP - (p + 0.5) * (tall - TOP - EDGE) for p in places]
    across = _across(study)
    colours = _colours(study.links, places[-1])
    for link in study.links:
        i = link.level - 1
        _lines(ax, link, (across[i], across[i - 1]), (heights[i], heights[i - 1]), colours[i])
    for i, components in enumerate(found):
        ax.text(across[i], tall - 0.2, f"level {i + 1}", ha="center", va="center", weight="bold", color=INK)
        for k in range(components.rank):
            _node(ax, study, components, k, (across[i], heights[i][k]), colours[i][k], pitch)
    return figure


def _across(study: Study) -> list[float]:
    """Where the levels stand, in inches from the left, the deepest first; the last has room for its names."""
    count = len(study.components)
    left, right = (2.1, WIDTH - 2.1) if _named(study) else (0.5, WIDTH - 0.5)
    return [right - i * (right - left) / (count - 1) for i in range(count)]


def _places(flows: list[Array], ranks: list[int]) -> list[Array]:
    """The height of each component between −½ and ½, so that links cross little.

    Each level in turn is put in the order of its neighbours' mean places, the barycentre method of Sugiyama, Tagawa &
    Toda (IEEE Trans. Syst. Man Cybern. 11, 1981), from an order of the deepest in which like stands beside like.
    """
    deepest = flows[-1] / np.maximum(np.linalg.norm(flows[-1], axis=1, keepdims=True), np.finfo(np.float64).tiny)
    orders = [np.arange(rank) for rank in ranks]
    orders[-1] = together(np.clip(deepest @ deepest.T, 0, 1))
    places = [_spread(order) for order in orders]
    for turn in range(TURNS):
        for i in range(len(flows) - 1, -1, -1):
            places[i] = _beside(flows[i].T, places[i + 1], places[i])
        for i in range(len(flows) if turn < TURNS - 1 else 0):
            places[i + 1] = _beside(flows[i], places[i], places[i + 1])
    return places


def _beside(flow: Array, others: Array, own: Array) -> Array:
    total = flow.sum(axis=1)
    # What has no link stays where it is.
    means = np.divide(flow @ others, total, out=own.copy(), where=total > 0)
    return _spread(np.lexsort((own, means)))


def _spread(order: Array) -> Array:
    """Evenly spread places between −½ and ½, in that order."""
    places = np.empty(len(order))
    places[order] = (np.arange(len(order)) + 0.5) / len(order) - 0.5
    return places


def _colours(links: tuple[Links, ...], places: Array) -> list[list[str]]:
    """The colour of each component: of the deepest level by place, of others that of the one they belong to most."""
    rank = len(places)
    some = [c for c in OKABE_ITO if c not in ("#000000", "#F0E442")]
    deepest = [""] * rank
    for i, k in enumerate(np.argsort(places)):
        deepest[int(k)] = some[i % len(some)]
    found = [deepest]
    for link in reversed(links):
        above = found[0]
        most = np.argmax(link.flow, axis=0)
        found.insert(0, [above[int(k)] if link.flow[k, j] > 0 else FAINT for j, k in enumerate(most)])
    return found


def _lines(ax: Any, link: Links, x: tuple[float, float], y: tuple[Array, Array], colours: list[str]) -> None:
    from matplotlib.collections import PathCollection
    from matplotlib.path import Path

    strongest = np.argmax(link.flow, axis=0)
    shown = link.parts >= LEAST
    shown[strongest, np.arange(len(strongest))] |= link.flow[strongest, np.arange(len(strongest))] > 0
    pairs = np.argwhere(shown)
    middle = (x[0] + x[1]) / 2
    kinds = [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
    paths = [Path([(x[0], y[0][k]), (middle, y[0][k]), (middle, y[1][j]), (x[1], y[1][j])], kinds) for k, j in pairs]
    parts = [float(link.parts[k, j]) for k, j in pairs]
    lines = PathCollection(
        paths,
        facecolors="none",
        edgecolors=[colours[int(k)] for k, _ in pairs],
        linewidths=[0.3 + 5 * part for part in parts],
        alpha=0.45,
        zorder=1,
    )
    ax.add_collection(lines, autolim=False)


def _node(ax: Any, study: Study, found: Components, k: int, at: tuple[float, float], colour: str, pitch: float) -> None:
    x, y = at
    if study.shapes.features is not None:
        _thumbnail(ax, study, found, k, at, colour, pitch)
        return
    large = float(np.sqrt(min(1.0, found.shares[k] * found.rank / 3)))
    size = min(0.8 * pitch, 0.2 + 0.14 * large)
    fits = float(np.clip(26 * pitch, 5.0, 8.0))
    ax.scatter([x], [y], s=(72 * size) ** 2, color=colour, zorder=3, linewidths=0.8, edgecolors="white")
    ax.text(x, y, str(k + 1), ha="center", va="center", fontsize=fits, color="white", weight="bold", zorder=4)
    if words := _words(study, found, k):
        place, sides = _beside_node(study, found, at, size)
        box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.4}
        ax.text(*place, words, fontsize=fits, color=INK, zorder=4, bbox=box, **sides)


def _beside_node(
    study: Study, found: Components, at: tuple[float, float], size: float
) -> tuple[tuple[float, float], dict[str, str]]:
    """Where the words of a component stand: outside at both ends, else above, where no line leaves."""
    x, y = at
    if found.layer.level == 1:
        return (x + size / 2 + 0.08, y), {"ha": "left", "va": "center"}
    if found.layer.level == len(study.components):
        return (x - size / 2 - 0.08, y), {"ha": "right", "va": "center"}
    return (x, y + size / 2 + 0.02), {"ha": "center", "va": "bottom"}


def _thumbnail(
    ax: Any, study: Study, found: Components, k: int, at: tuple[float, float], colour: str, pitch: float
) -> None:
    """The component as a small image, its number beside it."""
    assert study.shapes.features is not None
    numbers_, small = thinned(study.shapes.features, NODES)
    values = small.arranged(found.pictured[k][numbers_])
    own = min(1.1, 0.92 * pitch * min(2.0, max(c.rank for c in study.components) / found.rank))
    high = own * min(1.0, small.height / small.width)
    wide = high * small.width / small.height
    x, y = at
    extent = (x - wide / 2, x + wide / 2, y - high / 2, y + high / 2)
    top = max(float(values.max()), float(np.finfo(np.float64).tiny))
    ax.imshow(values, cmap=MAP, vmin=0, vmax=top, extent=extent, aspect="auto", interpolation="nearest", zorder=3)
    ax.add_patch(_frame(extent, colour))
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.3}
    ax.text(extent[1] + 0.04, y, str(k + 1), ha="left", va="center", fontsize=6, color=INK, zorder=4, bbox=box)


def _frame(extent: tuple[float, float, float, float], colour: str) -> Any:
    from matplotlib.patches import Rectangle

    left, right, low, high = extent
    return Rectangle((left, low), right - left, high - low, fill=False, edgecolor=colour, lw=1.2, zorder=3.5)


def _named(study: Study) -> bool:
    return study.features is not None and study.shapes.features is None and study.shapes.axis is None


def _words(study: Study, found: Components, k: int) -> str | None:
    if not _named(study):
        return None
    return " · ".join(label(study.feature(int(j)), 14) for j in found.top(k, WORDS)) or "all zero"


def _tables(study: Study) -> Figure:
    """A table of colours for each pair of neighbours, the deepest first."""
    figure = canvas(WIDTH, 3.2 * len(study.links))
    axes = figure.subplots(len(study.links), 1, squeeze=False)[:, 0]
    for ax, link in zip(axes, reversed(study.links), strict=True):
        order = np.lexsort((-link.flow.max(axis=0), np.argmax(link.flow, axis=0)))
        heat(ax, link.parts[:, order], bar="part", title=f"Level {link.level} by level {link.level - 1}")
        shown = numbers(link.parts.shape[0], 26)
        ax.set_yticks(shown, [str(k + 1) for k in shown])
        shown = numbers(len(order), 40)
        ax.set_xticks(shown, [str(int(order[i]) + 1) for i in shown], fontsize=7)
        ax.set(ylabel=f"level {link.level}", xlabel=f"level {link.level - 1}")
    return figure
