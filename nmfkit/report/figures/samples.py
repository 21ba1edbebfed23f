"""How the samples are made of the components: a map of samples, and a table of colours."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.report.figures.style import (
    FAINT,
    MARKERS,
    OKABE_ITO,
    WIDTH,
    canvas,
    heat,
    label,
    name_axis,
    number_axis,
    plain_ticks,
)
from nmfkit.report.labels import OTHERS
from nmfkit.report.study import Components, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = 500
"""Rows of the table of colours at most."""
LEGEND = 18
"""Names in a column of the legend."""
ROOM = 27
"""Labels that have room beside it."""
NAMED = 45
"""Rows whose names stand beside it."""


def coefficients(study: Study) -> Figure:
    """The map of samples above their table of colours, in one figure."""
    figure = canvas(WIDTH, 9.6)
    halves: Any = figure.subfigures(2, 1, height_ratios=[1.0, 1.1])
    _scatter(halves[0], study, study.main)
    _table(halves[1], study, study.main)
    return figure


def sample_map(study: Study, found: Components) -> Figure:
    """Each sample is a point; near ones are made of the same components."""
    wide = study.labels is not None and len(study.labels.names) > LEGEND
    figure = canvas(WIDTH if wide else 8.4, 4.8)
    _scatter(figure, study, found)
    return figure


def sample_table(study: Study, found: Components) -> Figure:
    """Rows are samples, columns components."""
    rows = len(_shown(found, study)[0])
    figure = canvas(WIDTH, min(9.0, 1.4 + (0.17 * rows if rows <= NAMED else 4.6)))
    _table(figure, study, found)
    return figure


def by_label(study: Study, found: Components) -> Figure:
    """Rows are labels, columns components: the mean part that a component has in the samples of a label."""
    assert study.labels is not None
    assert found.weights is not None
    assert found.weights.mass is not None
    names = study.labels.names
    figure = canvas(WIDTH, 1.2 + 0.24 * len(names))
    ax = figure.subplots()
    parts = label_parts(found)
    heat(ax, parts, high=float(max(parts.max(), 1e-12)), bar="part of the mass")
    number_axis(ax.set_xticks, found.rank)
    name_axis(ax.set_yticks, names, range(len(names)))
    ax.set_xlabel("component")
    return figure


def label_parts(found: Components) -> Array:
    """Of the mass in all samples of each label, the part that each component makes (labels, r)."""
    assert found.weights is not None
    assert found.weights.mass is not None
    mass = found.weights.mass
    total = mass.sum(axis=1, keepdims=True)
    parts: Array = mass / np.where(total > 0, total, 1)
    return parts


def embedded(profiles: Array) -> tuple[Array, tuple[float, float]]:
    """Places (s, 2) of profiles that sum to 1, and the part of the variance along either axis.

    The principal axes of the square roots, so that distances are Hellinger's; Legendre & Gallagher, Oecologia 129,
    2001.
    """
    roots = np.sqrt(np.nan_to_num(profiles))
    centred = roots - roots.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, ::-1][:, :2]
    # The largest entry of an axis points up, so that a picture is the same everywhere.
    axes = axes * np.where(axes[np.argmax(np.abs(axes), axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    places = np.zeros((len(roots), 2))
    places[:, : axes.shape[1]] = centred @ axes
    total = max(float(values.sum()), np.finfo(np.float64).tiny)
    parts = [*(max(0.0, float(v)) / total for v in values[::-1][:2]), 0.0, 0.0]
    return places, (parts[0], parts[1])


def _scatter(figure: Any, study: Study, found: Components) -> None:
    weights = found.weights
    assert weights is not None
    places, names_of_axes = _placed(found)
    codes, names, legend = _groups(study, found)
    ax = figure.subplots()
    size = float(np.clip(9000 / max(1, len(places)), 5, 36))
    for code, name in enumerate(names):
        inside = codes == code
        if not inside.any():
            continue
        faint = name is None
        ax.scatter(
            places[inside, 0],
            places[inside, 1],
            s=size,
            color="#bbbbbb" if faint else OKABE_ITO[code % len(OKABE_ITO)],
            marker="." if faint else MARKERS[(code // len(OKABE_ITO)) % len(MARKERS)],
            alpha=0.75,
            linewidths=0,
            label="all others" if faint else label(name, 28),
            rasterized=len(places) > 600,
            zorder=1 if faint else 2,
        )
    ax.set(xlabel=names_of_axes[0], ylabel=names_of_axes[1])
    ax.axhline(0, color=FAINT, lw=0.4, zorder=0)
    ax.axvline(0, color=FAINT, lw=0.4, zorder=0)
    plain_ticks(ax.xaxis)
    plain_ticks(ax.yaxis)
    ax.legend(title=legend, loc="center left", bbox_to_anchor=(1.01, 0.5), markerscale=max(1.0, 5 / size**0.5),
              alignment="left", ncols=1 + len(names) // (LEGEND + 1))  # fmt: skip


def _placed(found: Components) -> tuple[Array, tuple[str, str]]:
    """Where the samples stand, and what the axes are: of two components, their masses themselves."""
    assert found.weights is not None
    if found.rank == 2:
        return found.weights.sample * found.layer.scale[found.order], ("mass of component 1", "mass of component 2")
    places, (first, second) = embedded(found.profiles)
    return places, (f"axis 1 ({first:.0%} of the variance)", f"axis 2 ({second:.0%})")


def _groups(study: Study, found: Components) -> tuple[Array, list[Any], str]:
    """A code for each sample, what each code stands for (None: all others), and a title of the legend."""
    assert found.weights is not None
    if study.labels is not None:
        names = [None if name == OTHERS else name for name in study.labels.names]
        return study.labels.codes[found.weights.numbers], names, "label"
    leading = np.argmax(np.nan_to_num(found.profiles), axis=1)
    most = len(OKABE_ITO)
    counts = np.bincount(leading, minlength=found.rank)
    told = np.sort(np.argsort(-counts, kind="stable")[:most]) if found.rank > most else np.arange(found.rank)
    code = np.full(found.rank, len(told))
    code[told] = np.arange(len(told))
    others = [None] if found.rank > most else []
    return code[leading], [*(str(k + 1) for k in told), *others], "leading\ncomponent"


def _shown(found: Components, study: Study) -> tuple[Array, Array]:
    """The rows of the sample that the table shows, in its order, and the labels' codes of those."""
    assert found.weights is not None
    count = len(found.weights.numbers)
    some = np.unique(np.linspace(0, count - 1, min(count, ROWS)).round().astype(int))
    profiles = np.nan_to_num(found.profiles[some])
    # Rows without any component come last.
    leading = np.where(profiles.any(axis=1), np.argmax(profiles, axis=1), found.rank)
    codes = study.labels.codes[found.weights.numbers[some]] if study.labels else np.zeros(len(some), np.int64)
    order = np.lexsort((-profiles.max(axis=1), leading, codes))
    return some[order], codes[order]


def _table(figure: Any, study: Study, found: Components) -> None:
    assert found.weights is not None
    rows, codes = _shown(found, study)
    profiles = np.nan_to_num(found.profiles[rows])
    ax = figure.subplots()
    heat(ax, profiles, high=1 if found.rank < 12 else float(max(profiles.max(), 1e-12)), bar="part of the sample")
    number_axis(ax.set_xticks, found.rank)
    ax.set_xlabel("component")
    if study.labels is not None:
        edges = np.flatnonzero(np.diff(codes)) + 0.5
        ax.hlines(edges, -0.5, found.rank - 0.5, color="white", lw=1.2)
        starts = [-0.5, *edges, len(codes) - 0.5]
        middles = [(a + b) / 2 for a, b in pairwise(starts)]
        present = [study.labels.names[codes[int(np.ceil(a))]] for a in starts[:-1]]
        shown = _apart(middles, len(rows) / ROOM)
        ax.set_yticks([middles[i] for i in shown], [label(present[i]) for i in shown])
    elif len(rows) <= NAMED:
        names = [study.row(int(i)) for i in found.weights.numbers[rows]]
        name_axis(ax.set_yticks, names, range(len(rows)), fontsize=8)
    else:
        ax.set_yticks([])
        ax.set_ylabel("samples, by their leading component")


def _apart(places: list[float], least: float) -> list[int]:
    """Which of rising places to label so that labels are `least` apart."""
    shown: list[int] = []
    for i, place in enumerate(places):
        if not shown or place - places[shown[-1]] >= least:
            shown.append(i)
    return shown
