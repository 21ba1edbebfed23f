"""The components as one table of colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nmfkit.blocks import Array
from nmfkit.report.figures.style import WIDTH, canvas, heat, name_axis, number_axis, tick
from nmfkit.report.shapes import Axis
from nmfkit.report.study import Components, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE = 400
"""Features that are all shown, in their order; of more, those that matter most."""
NAMED = 60
"""Features whose names stand below."""


def heatmap(study: Study, found: Components) -> Figure:
    """Rows are components, columns features, each row from 0 to its largest entry, either way where some are below."""
    columns = chosen(found, study.shapes.axis)
    v, signed = (found.v, found.layer.signed) if study.shapes.axis is None else (found.pictured, found.signed)
    peak = np.max(np.abs(v), axis=1, keepdims=True)
    values = _narrowed(v[:, columns] / np.where(peak > 0, peak, 1))
    named = len(columns) <= NAMED and study.shapes.axis is None
    figure = canvas(WIDTH, min(8.0, 1.1 + 0.9 * named + 0.2 * max(4, found.rank) * (1 if found.rank <= 40 else 0.3)))
    ax = figure.subplots()
    heat(ax, values, high=1, bar="part of the largest", signed=signed)
    number_axis(ax.set_yticks, found.rank)
    ax.set(ylabel="component")
    if axis := study.shapes.axis:
        places, names = _round_places(axis.values, values.shape[1])
        ax.set_xticks(places, names)
        ax.set_xlabel(axis.title)
    elif named:
        names = [study.feature(int(j)) for j in columns]
        name_axis(ax.set_xticks, names, range(len(names)), rotation=90, fontsize=7)
    else:
        ax.set_xlabel(f"{len(columns):,} features" if len(columns) < v.shape[1] else "features, in their order")
    return figure


def _narrowed(values: Array) -> Array:
    """At most `WIDE` columns: of neighbours that would share one, the entry of largest size."""
    n = values.shape[1]
    if n <= WIDE:
        return values
    edges = np.linspace(0, n, WIDE + 1).astype(int)[:-1]
    return larger(np.maximum.reduceat(values, edges, axis=1), np.minimum.reduceat(values, edges, axis=1))


def larger(high: Array, low: Array) -> Array:
    """Of two numbers the one of larger size."""
    return np.where(high >= -low, high, low)


def _round_places(values: Array, columns: int) -> tuple[Array, list[str]]:
    """Where round values of an axis lie among so many columns."""
    from matplotlib.ticker import MaxNLocator

    order = np.argsort(values, kind="stable")
    low, high = float(values.min()), float(values.max())
    ticks = [float(t) for t in MaxNLocator(8).tick_values(low, high) if low <= t <= high]
    at = np.interp(ticks, values[order], order * ((columns - 1) / max(1, len(values) - 1)))
    return at, [tick(t) for t in ticks]


def chosen(found: Components, axis: Axis | None = None) -> Array:
    """The features to show: all in their order, or those that weigh most in some component, by the one they lead."""
    n = found.v.shape[1]
    if axis is not None:
        return np.arange(len(axis.values))
    if n <= WIDE:
        return np.arange(n)
    each = max(1, min(6, NAMED // max(1, found.rank))) if found.rank <= NAMED else 1
    tops = [int(j) for k in range(found.rank) for j in found.top(k, each)]
    return np.array(list(dict.fromkeys(tops)) or [0])
