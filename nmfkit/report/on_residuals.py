"""The section about what the fit leaves over."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmfkit.cli.text import percent
from nmfkit.report.figures.leftover import leftover
from nmfkit.report.html import Html, el, join, name_of
from nmfkit.report.images import picture
from nmfkit.report.residuals import LEFT, Side
from nmfkit.report.study import Study
from nmfkit.report.tables import table

WORST = 10
"""Rows and columns that are listed as the least well explained."""


def residual(study: Study) -> Html:
    """Where the fit is off, or why that is not known."""
    left = study.residuals
    if left is None:
        reason = study.gone or "they were not asked for"
        return join(
            el("p", "There are no residuals to show, for they need the data: ", reason),
            el(
                "p",
                "Where the data now lie elsewhere, name them: ",
                el("code", "nmfkit report RUN.zarr SRC -o report.html"),
            ),
        )
    one = "row" if study.symmetric else "row or column"
    lists = [_worst("rows", left.rows, study.row)]
    if not study.symmetric:
        lists.append(_worst("columns", left.columns, study.feature))
    return join(
        el(
            "p",
            f"{_made(study)}Over the whole matrix {study.error_text} is {left.error:.4g}. The error of a {one} is the "
            "same for it alone: 0 is exact, 1 no better than zero.",
        ),
        picture(
            leftover(study),
            f"Errors by {'rows' if study.symmetric else 'rows and by columns'}, in order or as a histogram, and "
            "against size",
            f"Left: where the error is. Right: the error against the size of the {one}; small ones are usually "
            "explained less well, so look for those above the cloud. The dashed line is the whole matrix.",
        ),
        el("div", *lists, class_="pair"),
    )


def _made(study: Study) -> str:
    """What stands for X in the formula, where something does."""
    if not study.result.is_viewed:
        return ""
    return f"The fit is judged by what it was fitted to: Y, the {study.result.width:,} columns made of X by the model. "


def _worst(what: str, side: Side, name: Any) -> Html:
    """The ones whose residual makes the largest part of the whole."""
    total = max(float(side.sums[:, LEFT].sum()), np.finfo(np.float64).tiny)
    order = np.argsort(-side.sums[:, LEFT], kind="stable")[:WORST]
    rows = (
        [
            name_of(name(int(i))),
            percent(side.sums[i, LEFT] / total),
            _number(side.error[i]),
            _number(side.cosine[i]),
            _signed(100 * side.surplus[i]),
        ]
        for i in order
    )
    return el(
        "div",
        el("h3", f"{what.capitalize()} that make the most of the residual"),
        table([what[:-1], "part", "error", "cosine", "surplus"], rows, numeric=range(1, 5)),
        el(
            "p",
            "Part: of the residual's sum of squares. Cosine: between data and fit. Surplus: by how much the "
            "fit's sum exceeds the "
            "data's.",
            class_="how",
        ),
    )


def _signed(percentage: float) -> str:
    if not np.isfinite(percentage):
        return "–"
    # What rounds to zero has no sign of its own.
    return f"{round(percentage, 1) + 0.0:+.1f} %".replace("-", "−")


def _number(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "–"
