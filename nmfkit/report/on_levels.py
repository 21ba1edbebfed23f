"""The section about the levels of a model that has several: how each fits, and how they are linked."""

from __future__ import annotations

import numpy as np

from nmfkit.cli.text import number, percent
from nmfkit.report.figures.tree import NODES
from nmfkit.report.figures.tree import levels as tree
from nmfkit.report.html import Html, el, join, name_of
from nmfkit.report.images import picture
from nmfkit.report.links import Links, levels_told
from nmfkit.report.study import Components, Study
from nmfkit.report.tables import table

LISTED = 8
"""Links of a component that are listed at most."""
LEAST = 0.02
"""Parts below which a link is not listed."""
ROWS = 25
"""Rows of a table that are seen at once; a longer one opens at a click."""
WORDS = 4
"""Features by which a component is called."""


def levels(study: Study) -> Html:
    """The figures of each level, and what each component is made of."""
    return join(
        _figures(study),
        el("h3", "From level to level"),
        _tree(study),
        *(_links(study, link) for link in reversed(study.links)),
    )


def _figures(study: Study) -> Html:
    rows = [
        [
            str(told["level"]),
            str(told["rank"]),
            f"{found.layer.weights} · {found.layer.shared}",
            _digits(told["relative_error"], ".3g"),
            _digits(told["sparsity"], ".2f"),
            number(told["layer_loss"]),
            number(told["layer_loss_at_start"]),
            percent(told["ratio"]) if told["ratio"] is not None else "–",
            number(float(f"{told['weight']:.4g}")),
        ]
        for told, found in zip(levels_told(study), study.components, strict=True)
    ]
    head = ["level", "components", "factors", study.error_text, "sparsity", "layer's loss", "at the start",
            "loss / start", "weight"]  # fmt: skip
    return join(
        table(head, rows, numeric=(0, 1, 3, 4, 5, 6, 7, 8)),
        el(
            "p",
            "Level 1 is next to the data; each further level factorizes again what the one before found. The error is "
            "that of X against the product of the level's factors. Sparsity is Hoyer's, the mean over the level's "
            "components in the features of the data: 0 for even entries, 1 for a single one. A layer's loss is that of "
            "what it factorizes against its own two factors, without its weight; the start is the fit of one layer "
            "after the other, each for itself. Fitted together, deeper layers usually come down far, and the first one "
            "pays a little for it: where it pays much, smaller weights of the deeper layers give it back.",
            class_="how",
        ),
    )


def _digits(value: float | None, form: str) -> str:
    return format(value, form) if value is not None and np.isfinite(value) else "–"


def _tree(study: Study) -> Html:
    total = sum(found.rank for found in study.components)
    if total <= NODES:
        node = ", the larger the share" if study.shapes.features is None else " beside its image"
        how = (
            f"A node is a component with its number{node}; the deepest level stands on the left. A line is "
            "as thick as the part that a component of one level has in the other; the colour of a component is that of "
            "the one it belongs to most in the deeper level. Weak links are left out."
        )
    else:
        how = (
            "Rows are the components of a level, columns those of the level before, a cell the part that goes through "
            "both; each row adds up to 1. Columns stand by the row in which they weigh most."
        )
    return picture(tree(study), f"How the components of {len(study.components)} levels are linked", how)


def _links(study: Study, link: Links) -> Html:
    after, before = study.components[link.level - 1], study.components[link.level - 2]
    verb = "made of" if link.mixes else "goes into"
    named = names(study, after, 0) is not None
    head = ["component", "share", *(["features that weigh most"] if named else []), f"{verb} (level {link.level - 1})"]
    rows = [
        [
            str(k + 1),
            percent(after.shares[k]),
            *([name_of(names(study, after, k) or "")] if named else []),
            _told(study, before, link, k),
        ]
        for k in range(after.rank)
    ]
    listed = table(head, rows, numeric=(0, 1))
    if after.rank > ROWS:
        listed = el("details", el("summary", f"All {after.rank} components"), listed)
    what = (
        "Its components are mixtures of those of the level before; the numbers are the parts of the mixture."
        if link.mixes
        else "Components of the level before are mixtures of these; the numbers say where a component goes."
    )
    return join(el("h3", f"Level {link.level} and level {link.level - 1}"), el("p", what, class_="how"), listed)


def _told(study: Study, before: Components, link: Links, k: int) -> Html:
    pieces: list[Html | str] = []
    for j, part in link.strongest(k, LISTED, LEAST):
        words = names(study, before, j, 2)
        pieces += [", " if pieces else "", el("b", str(j + 1)), f" ({part:.2f})"]
        pieces += [" ", name_of(words, of="name quiet")] if words else []
    return el("span", *pieces, class_="links") if pieces else el("span", "nothing", class_="quiet")


def names(study: Study, found: Components, k: int, most: int = WORDS) -> str | None:
    """The features that weigh most in a component, where features have names that say something."""
    if study.features is None or study.shapes.features is not None or study.shapes.axis is not None:
        return None
    return ", ".join(study.feature(int(j)) for j in found.top(k, most)) or "all zero"
