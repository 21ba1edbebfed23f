"""Sections about the components themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmfkit.cli.text import percent
from nmfkit.report.cards import PROFILED, cards
from nmfkit.report.figures.heatmap import WIDE, chosen, heatmap
from nmfkit.report.figures.similarity import similarity
from nmfkit.report.html import Html, el, join, name_of
from nmfkit.report.images import picture
from nmfkit.report.mixture import GAIN, MOST, Mixture
from nmfkit.report.study import Components, Study
from nmfkit.report.tables import table

_FROM_0 = "1 (yellow) on the diagonal and for twins, 0 (dark) for components without a feature in common"
_OF_SIGNS = "1 (blue) on the diagonal and for twins, 0 (white) for components at right angles, −1 (red) for opposites"
GOOD = 0.9
"""Cosine from which on a component counts as found in the reference."""


def components(study: Study, found: Components) -> Html:
    """The cards, and all components as one picture."""
    shapes = study.shapes
    what = "the component itself" if found.added is None else "what the component adds to the data, in their units"
    pieces = ["Each card is a component, the largest share first. A share is the part of the sum of all fitted values "
              "that a component makes; the index is its row in the run."]  # fmt: skip
    if found.weights is not None and found.weights.maps is not None:
        pieces.append("Its map shows how much of it each pixel holds, from dark (none) to yellow (its most).")
    if shapes.features:
        from_0 = "from dark (0) to yellow (its largest value)"
        either = "from red (as far below 0 as it goes) over white (0) to blue (as far above)"
        pieces.append(f"The image shows {what}, {either if found.signed else from_0}.")
    elif shapes.axis:
        pieces.append(f"The curve along the axis is {what}; the grey line is 0.")
    else:
        if found.v.shape[1] <= PROFILED:
            pieces.append("The small chart holds all features in the order of the data.")
        pieces.append("Bars are the features that weigh most; the percentage is a feature's part of the component.")
        if found.layer.signed:
            pieces.append(
                "Orange bars, and a minus, are features that it lowers; shares and parts are of entries' sizes."
            )
    body = [el("p", " ".join(pieces), class_="how"), cards(study, found)]
    if not shapes.features:
        body += [el("h3", "All in one"), _heatmap(study, found)]
    return join(*body)


def _heatmap(study: Study, found: Components) -> Html:
    shown = len(chosen(found, study.shapes.axis))
    n = found.v.shape[1] if study.shapes.axis is None else shown
    whole = n <= WIDE or study.shapes.axis is not None
    signed = found.layer.signed if study.shapes.axis is None else found.signed
    start = "red over white, 0, and blue" if signed else "0"
    some = "" if whole else f" Of {n:,} features it shows {shown}: those that lead in a component."
    return picture(
        heatmap(study, found),
        f"Heat map of {found.rank} components by {shown} features",
        f"A row is a component, a column a feature; each row runs from {start} to its own largest entry. A column with "
        f"several bright cells is a feature that components share.{some}",
    )


def alike(study: Study, found: Components) -> Html:
    """How alike the components are and how sparse, with a table."""
    drawn = _alike(study, found) if found.rank > 1 else None
    other = found.cosine - 3 * np.eye(found.rank)
    near = np.argmax(other, axis=1)
    sparse = (found.sparsity_of_v, found.sparsity_of_w)
    rows = (
        [
            str(k + 1),
            str(int(found.order[k])),
            percent(found.shares[k]),
            *(_dashed(values, k) for _, values in zip(found.layer.told, sparse, strict=False)),
            f"{int(found.weights.leads[k]):,}" if found.weights else "–",
            f"{int(near[k]) + 1} ({found.cosine[k, near[k]]:.2f})" if found.rank > 1 else "–",
        ]
        for k in range(found.rank)
    )
    sparsity = [f"sparsity of {name}" for name in found.layer.told]
    head = ["component", "index in the run", "share", *sparsity, "leads in samples", "nearest (cosine)"]
    listed = table(head, rows, numeric=range(len(head)))
    if found.rank > 30:
        listed = el("details", el("summary", f"Table of all {found.rank} components"), listed)
    return join(drawn, listed)


def _alike(study: Study, found: Components) -> Html:
    return picture(
        similarity(study, found),
        "Heat map of the cosine of each pair of components; their shares and their sparsity",
        f"Left: {_OF_SIGNS if found.layer.signed else _FROM_0}; those "
        "that are alike stand together. Right: the part of the fit that each component makes, and Hoyer's sparsity, "
        "0 for even entries, 1 for a single one.",
    )


def _dashed(values: Any, k: int) -> str:
    return f"{values[k]:.2f}" if values is not None and np.isfinite(values[k]) else "–"


def beside_reference(study: Study, found: Components) -> Html:
    """Which known component each one is."""
    assert study.reference is not None
    good = sum(m.cosine is not None and m.cosine >= GOOD for m in found.matches)
    rows = (
        [
            str(k + 1),
            percent(found.shares[k]),
            name_of(m.name) if m.name is not None else "none left",
            _rated(m.cosine) if m.cosine is not None else "–",
            join(name_of(m.nearest), f" ({m.nearest_cosine:.2f})") if m.nearest != m.name else "the same",
            _mixed(m.mixture),
            _rated(m.mixture.cosine),
        ]
        for k, m in enumerate(found.matches)
    )
    mixed = sum(m.mixture.cosine >= GOOD for m in found.matches)
    return join(
        el(
            "p",
            f"{good} of {found.rank} components have a cosine of at least {GOOD:g} with the reference ",
            el("code", study.reference.path),
            f", which holds {len(study.reference.names)}; as mixtures of up to {MOST} of these, {mixed} have.",
        ),
        table(
            ["component", "share", "matched to", "cosine", "most like", "mixture", "cosine"],
            rows,
            numeric=(0, 1, 3, 6),
        ),
        el(
            "p",
            "“Matched to” gives each component a reference of its own so that the cosines add up to the most; "
            "“most like” is the closest one, whoever else it is closest to. A cosine of 1 is the same direction. "
            "Processes that always act together come out as one component: “mixture” says what it is made of, one more "
            f"reference being taken in where it adds {GAIN:g} to the cosine; percentages are parts of its sum.",
            class_="how",
        ),
    )


def _rated(cosine: float) -> Html:
    return el("span", f"{cosine:.3f}", class_="good" if cosine >= GOOD else None)


def _mixed(made_of: Mixture) -> Html:
    if not made_of.names:
        return el("span", "–")
    pieces: list[Html | str] = []
    for name, part in zip(made_of.names, made_of.parts, strict=True):
        pieces += [" + " if pieces else "", name_of(name), f" {percent(part)}"]
    return el("span", *pieces)
