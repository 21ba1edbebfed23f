"""How alike the components are, and how sparse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.report.figures.style import GRID, OKABE_ITO, WIDTH, canvas, heat, number_axis, plain_ticks
from nmfkit.report.study import Components, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def similarity(study: Study, found: Components | None = None) -> Figure:
    """The cosine of each pair, like beside like; shares; Hoyer's sparsity of each component and of its weights."""
    found = found or study.main
    figure = canvas(WIDTH, 4.9)
    axes = figure.subplot_mosaic(
        [["cosine", "share"], ["cosine", "sparsity"]], width_ratios=[1.1, 1], height_ratios=[1, 1.5]
    )
    left = axes["cosine"]
    order = together(found.cosine)
    heat(left, found.cosine[np.ix_(order, order)], high=1, title="Cosine of each pair", width=0.03,
         signed=found.layer.signed)  # fmt: skip
    places = range(len(order)) if len(order) <= 32 else ()
    names = [str(order[i] + 1) for i in places]
    small = 9 if len(order) <= 20 else 6.5
    left.set_xticks(places, names, fontsize=small, rotation=0 if len(order) <= 20 else 90)
    left.set_yticks(places, names, fontsize=small)
    left.set(xlabel="component, like beside like", ylabel="component" if places else "")
    _shares(axes["share"], found)
    _sparsity(axes["sparsity"], found)
    return figure


def together(cosine: Array) -> Array:
    """An order in which like stands beside like: that of an average linkage of 1 − cosine, leaves in the best order."""
    if len(cosine) < 3:
        return np.arange(len(cosine))
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    apart = squareform(np.clip(1 - (cosine + cosine.T) / 2, 0, 2), checks=False)
    order: Array = leaves_list(optimal_leaf_ordering(linkage(apart, "average"), apart))
    return order


def _shares(ax: Any, found: Components) -> None:
    ax.bar(np.arange(found.rank), 100 * found.shares, color=OKABE_ITO[0], width=0.75 if found.rank <= 80 else 1.0)
    ax.set(title="Share of each component in %", xlim=(-0.7, found.rank - 0.3))
    number_axis(ax.set_xticks, found.rank, 12)
    plain_ticks(ax.yaxis)
    ax.grid(axis="y", color=GRID, lw=0.6)


def _sparsity(ax: Any, found: Components) -> None:
    places = np.arange(found.rank)
    series = [(found.sparsity_of_v, f"entries ({found.layer.shared})", "o")]
    if found.sparsity_of_w is not None and not found.layer.symmetric:
        series.append((found.sparsity_of_w, f"weights ({found.layer.weights})", "D"))
    for (values, name, marker), colour in zip(series, OKABE_ITO, strict=False):
        ax.plot(places, values, marker, color=colour, ms=5 if found.rank <= 40 else 2.5, label=name)
    ax.set(
        ylim=(-0.02, 1.02),
        xlim=(-0.7, found.rank - 0.3),
        xlabel="component",
        title="Sparsity (0 even, 1 a single entry)",
    )
    number_axis(ax.set_xticks, found.rank, 12)
    ax.grid(axis="y", color=GRID, lw=0.6)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2)
