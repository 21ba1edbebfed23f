"""The components side by side, each in the form that suits it: an image, a spectrum, or its heaviest features."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nmfkit.report.figures.style import DIVERGING, FAINT, MAP, OKABE_ITO, WIDTH, canvas, label, plain_ticks
from nmfkit.report.study import Components, Study
from nmfkit.report.thinned import thinned

if TYPE_CHECKING:
    from matplotlib.figure import Figure


SHOWN = 240
"""Components on a sheet at most: a longer one could not be looked at."""


@dataclass(frozen=True)
class Form:
    """How many cells stand side by side, how tall each is, and the room around what it shows, all in inches."""

    across: int
    tall: float
    left: float
    bottom: float
    right: float = 0.12
    top: float = 0.3

    def axes(self, count: int) -> tuple[Figure, list[Any]]:
        """A figure with so many cells; laying them out by the sizes of all texts would take minutes for hundreds."""
        down = math.ceil(count / self.across)
        figure = canvas(WIDTH, self.tall * down, laid_out=False)
        wide = WIDTH / self.across - self.left - self.right
        high = self.tall - self.top - self.bottom
        room = {
            "left": self.left / WIDTH,
            "right": 1 - self.right / WIDTH,
            "top": 1 - self.top / (self.tall * down),
            "bottom": self.bottom / (self.tall * down),
            "wspace": (self.left + self.right) / wide,
            "hspace": (self.top + self.bottom) / high,
        }
        cells = figure.subplots(down, self.across, squeeze=False, gridspec_kw=room).ravel().tolist()
        for ax in cells[count:]:
            ax.set_visible(False)
        return figure, cells[:count]


IMAGES, SPECTRA = Form(6, 1.9, 0.05, 0.05, 0.05), Form(3, 1.6, 0.12, 0.42)


def components(study: Study) -> Figure:
    """Small multiples, the largest share first."""
    found, shapes = study.main, study.shapes
    maps = None if found.weights is None else found.weights.maps
    count = min(found.rank, SHOWN)
    form = IMAGES if shapes.features or maps is not None else SPECTRA if shapes.axis else _for_bars(study)
    figure, axes = replace(form, across=min(form.across, max(count, form.across - 2))).axes(count)
    for i, ax in enumerate(axes):
        ax.set_title(f"{i + 1} · {found.shares[i]:.1%} · index {found.order[i]}", fontsize=7.5)
        if shapes.features:
            numbers, small = thinned(shapes.features, count)
            _picture(ax, small.arranged(found.pictured[i][numbers]), signed=found.signed)
        elif maps is not None:
            _picture(ax, maps[..., i])
        elif shapes.axis:
            _spectrum(ax, shapes.axis, found.pictured[i], signed=found.signed)
        else:
            _bars(ax, study, found, i)
    if count < found.rank:
        axes[0].set_title(f"{axes[0].get_title(loc='left')}   (the first {count} of {found.rank})", fontsize=7.5)
    return figure


def _for_bars(study: Study) -> Form:
    return Form(4, 0.7 + 0.17 * study.top, 1.18, 0.3)


def _picture(ax: Any, values: Any, *, signed: bool = False) -> None:
    high = max(float(np.abs(values).max()), np.finfo(np.float64).tiny)
    low, colours = (-high, DIVERGING) if signed else (0, MAP)
    ax.imshow(values, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)


def _spectrum(ax: Any, axis: Any, values: Any, *, signed: bool) -> None:
    ax.fill_between(axis.values, values, color=OKABE_ITO[0], alpha=0.25, linewidth=0)
    ax.plot(axis.values, values, color=OKABE_ITO[0], lw=1)
    ax.set(ylim=(None if signed else 0, None), yticks=[])
    plain_ticks(ax.xaxis)
    ax.set_xlabel(axis.title, fontsize=8)


def _bars(ax: Any, study: Study, found: Components, k: int) -> None:
    top = found.top(k, study.top)
    total = max(float(found.sizes[k]), np.finfo(np.float64).tiny)
    ax.barh(np.arange(len(top)), found.v[k][top] / total, color=OKABE_ITO[0], height=0.75)
    ax.set_yticks(range(len(top)), [label(study.feature(int(j)), 18) for j in top], fontsize=7.5)
    ax.set_ylim(study.top - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=7, color=FAINT)
    ax.locator_params(axis="x", nbins=3)
    plain_ticks(ax.xaxis)
