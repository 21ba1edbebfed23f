"""Where the fit is good and where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import StoreError
from nmfkit.report.figures.style import FAINT, GRID, OKABE_ITO, WIDTH, canvas, heat, plain_ticks
from nmfkit.report.residuals import Side
from nmfkit.report.shapes import Shapes
from nmfkit.report.study import Study
from nmfkit.report.thinned import Image, thinned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS = 5000
BARS = 300
"""Rows or columns that are shown one by one."""


def leftover(study: Study) -> Figure:
    """Above the rows, below the columns: their errors in order (or how many have which), and against their size.

    Of a symmetric matrix there are the rows alone.
    """
    left = study.residuals
    if left is None:
        raise StoreError(f"residuals need the data: {study.gone or 'they were not asked for'}")
    shapes = study.shapes if study.result.fits_columns else Shapes(study.shapes.rows)
    both = [(left.rows, "row", shapes.rows), (left.columns, "column", shapes.features)]
    sides = both[:1] if study.symmetric else both
    figure = canvas(WIDTH, 2.8 * len(sides))
    axes = figure.subplots(len(sides), 2, width_ratios=[1.25, 1], squeeze=False)
    for (course, cloud), (side, name, image) in zip(axes, sides, strict=True):
        if image is not None:
            _image(course, side.error, image, name)
        elif name == "column" and shapes.axis is not None:
            _along(course, shapes.axis.values, side.error, shapes.axis.title)
        elif len(side.sums) <= BARS:
            _each(course, side.error, name)
        else:
            _spread(course, side.error, name)
        _cloud(cloud, side, name, left.error)
    return figure


def _image(ax: Any, error: Array, image: Image, name: str) -> None:
    pixels, small = thinned(image)
    values = small.arranged(error[pixels])
    heat(
        ax,
        np.nan_to_num(values),
        high=_high(error),
        title=f"Error of each {name}, as the image",
        bar="error",
        width=0.05,
    )
    ax.set_aspect("equal", anchor="W")
    ax.set(xticks=[], yticks=[])


def _along(ax: Any, x: Array, error: Array, title: str) -> None:
    ax.plot(x, error, color=OKABE_ITO[0], lw=1)
    ax.set(ylim=(0, None), ylabel="error", title="Error of each column along the axis")
    ax.set_xlabel(title)
    ax.grid(color=GRID, lw=0.6)


def _each(ax: Any, error: Array, name: str) -> None:
    ax.bar(np.arange(len(error)), np.nan_to_num(error), width=0.8 if len(error) < 80 else 1.0, color=OKABE_ITO[0])
    ax.set(ylim=(0, None), xlabel=f"{name}, in the order of the data", ylabel="error", title=f"Error of each {name}")
    ax.set_xlim(-0.7, len(error) - 0.3)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(axis="y", color=GRID, lw=0.6)


def _spread(ax: Any, error: Array, name: str) -> None:
    there = error[np.isfinite(error)]
    high = _high(error)
    ax.hist(np.clip(there, 0, high), bins=50, range=(0, high), color=OKABE_ITO[0])
    ax.set(
        xlabel="error (the last bar holds all that are larger)",
        ylabel=f"{name}s",
        title=f"How many {name}s have which error",
    )
    ax.grid(axis="y", color=GRID, lw=0.6)
    plain_ticks(ax.yaxis)


def _cloud(ax: Any, side: Side, name: str, whole: float) -> None:
    some = np.flatnonzero(np.isfinite(side.error) & (side.size > 0))
    some = (
        some[np.unique(np.linspace(0, len(some) - 1, min(len(some), DOTS)).round().astype(int))] if len(some) else some
    )
    ax.scatter(
        side.size[some], np.minimum(side.error[some], 1.5), s=float(np.clip(3000 / max(1, len(some)), 3, 22)),
        color=OKABE_ITO[0], alpha=0.5 if len(some) > 300 else 0.8, linewidths=0, rasterized=len(some) > 600,
    )  # fmt: skip
    if len(some) and side.size[some].max() > 20 * side.size[some].min():
        ax.set_xscale("log")
    else:
        ax.locator_params(axis="x", nbins=5)
    ax.axhline(whole, color=OKABE_ITO[5], lw=1.1, ls="--")
    ax.text(
        0.99, 1.0, "- - whole matrix", color=OKABE_ITO[5], ha="right", va="bottom", transform=ax.transAxes, fontsize=8
    )
    ax.set(ylim=(0, None), xlabel=f"size of the {name}, ‖x‖", ylabel="error", title=f"Error of {name}s by their size")
    ax.grid(color=GRID, lw=0.6)
    ax.tick_params(colors=FAINT, labelcolor="#222222")
    plain_ticks(ax.xaxis)


def _high(error: Array) -> float:
    """The end of a scale of errors: a few that are far off do not squeeze the rest."""
    there = error[np.isfinite(error)]
    return float(max(1e-12, min(there.max(), 1.6 * np.quantile(there, 0.98)))) if len(there) else 1.0
