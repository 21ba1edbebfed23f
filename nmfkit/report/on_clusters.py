"""The section about the clusters of a symmetric model."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmfkit.cli.text import percent
from nmfkit.report.clusters import Clusters
from nmfkit.report.figures.ordered import ordered
from nmfkit.report.html import Html, el, join, name_of
from nmfkit.report.images import picture
from nmfkit.report.study import Study
from nmfkit.report.tables import table

ROWS = 40
"""Clusters that are listed at once; a longer table opens at a click."""


def on_clusters(study: Study, found: Clusters) -> Html:
    """Their sizes and strongest members, and the matrix with the members of each side by side."""
    alone = (
        f" {found.alone:,} of {study.result.shape[0]:,} have no component at all, and are in none."
        if found.alone
        else ""
    )
    how = (
        "Each row belongs to the component that weighs most in it; clusters have the numbers of their components. "
        f"Members are listed by their weight, the strongest first.{alone}"
    )
    return join(el("p", how, class_="how"), _picture(found), _table(study, found))


def _picture(found: Clusters) -> Html | None:
    if found.picture is None:
        return None
    each = len(found.picture) == int(found.sizes.sum()) + found.alone
    strong, colours = "Bright", "Colours follow the roots of the values, so that faint ones are seen."
    if found.picture.min() < 0:
        strong, colours = "Blue", "Entries below 0 are red."
    cells = f"a cell is {'an entry' if each else 'the mean of many entries'}"
    return picture(
        ordered(found),
        "The similarity matrix as colours, rows and columns by cluster",
        f"The similarity matrix with the members of each cluster side by side, the strongest first; {cells}. "
        f"{strong} blocks on the diagonal are clusters that hold together; such blocks off it are pairs of clusters "
        f"that are close. {colours}",
    )


def _table(study: Study, found: Clusters) -> Html:
    m = study.result.shape[0]
    rows = (
        [
            str(k + 1),
            f"{int(size):,}",
            percent(size / m),
            *([_part(found.inside[k])] if found.inside is not None else []),
            _members(study, found.members[k]),
        ]
        for k, size in enumerate(found.sizes)
    )
    head = ["cluster", "members", "of all rows", *(["similarity inside"] if found.inside is not None else [])]
    listed = table([*head, "strongest members"], rows, numeric=range(len(head)))
    about = "“Similarity inside” is the part of all similarity of the members that is among themselves."
    note = el("p", about, class_="how") if found.inside is not None else None
    if len(found.sizes) > ROWS:
        listed = el("details", el("summary", f"All {len(found.sizes)} clusters"), listed)
    return join(listed, note)


def _part(value: Any) -> str:
    return percent(float(value)) if np.isfinite(value) else "–"


def _members(study: Study, members: Any) -> Html:
    pieces: list[Html | str] = []
    for i in members[: study.top]:
        pieces += [", " if pieces else "", name_of(study.row(int(i)))]
    return el("span", *pieces, class_="links") if pieces else el("span", "nothing", class_="quiet")
