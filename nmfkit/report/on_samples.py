"""The section about the samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nmfkit.cli.text import percent
from nmfkit.clustering import Agreement
from nmfkit.report.figures.samples import by_label, label_parts, sample_map, sample_table
from nmfkit.report.html import Html, el, join, name_of
from nmfkit.report.images import picture
from nmfkit.report.study import Components, Study
from nmfkit.report.tables import facts, table
from nmfkit.report.weights import Weights


def coefficients(study: Study, found: Components) -> Html:
    """The samples as points, as a table of colours, and by their labels."""
    weights = found.weights
    assert weights is not None
    if found.rank == 1:
        return el("p", "There is but one component, so every sample is made of it alone: samples differ in its weight, "
                  "not in proportions.")  # fmt: skip
    sample = (
        "" if weights.is_whole else f" It shows {len(weights.numbers):,} of {weights.count:,} samples, evenly spread."
    )
    axes = "The axes are principal axes of the square roots of the proportions."
    if found.rank == 2:
        axes = "The axes are the sums of what the two components make of each sample."
    coloured = "its label" if study.labels else "its leading component"
    body = [
        el("h3", "Map of the samples"),
        picture(
            sample_map(study, found),
            f"Scatter plot of the samples, coloured by {coloured}",
            f"Each point is a sample, coloured by {coloured}; samples near each other are made of the same "
            "components in the "
            f"same proportions. {axes}{sample}",
        ),
    ]
    if study.labels is not None:
        body += _labelled(study, found, weights)
    body += [
        el("h3", "Table of the samples"),
        picture(
            sample_table(study, found),
            "Heat map of samples by components",
            "A row is a sample, a column a component, a cell the part of the sample that the component makes. "
            f"Samples stand {'by label, then ' if study.labels else ''}"
            "by leading component. One bright block per group means that components separate the groups.",
        ),
    ]
    return join(*body)


def _labelled(study: Study, found: Components, weights: Weights) -> Iterator[Html]:
    counts = weights.table
    assert study.labels is not None
    assert counts is not None
    means = label_parts(found)
    shown = range(min(found.rank, 8))
    yield el("h3", "Components by label")
    yield _agreement(weights.agreement)
    yield picture(
        by_label(study, found),
        "Heat map of labels by components",
        "A row is a label, a cell the part of all its samples that the component makes. Each row adds up to 1.",
    )
    more = f", of which {len(shown)} are shown" if found.rank > len(shown) else ""
    yield table(
        ["label", "samples", "leading component", *(str(k + 1) for k in shown)],
        (
            [
                name_of(name),
                f"{int(np.count_nonzero(study.labels.codes == i)):,}",
                f"{int(np.argmax(counts[i])) + 1} ({percent(counts[i].max() / max(1, counts[i].sum()))} of the "
                "samples)",
                *(f"{means[i, k]:.2f}" for k in shown),
            ]
            for i, name in enumerate(study.labels.names)
        ),
        caption=f"Part of all samples of a label that each component makes{more}",
    )


def _agreement(found: Agreement | None) -> Html:
    """How far leading components agree with the labels, as `score` tells it."""
    if found is None:
        return el("p", "No sample has a label, so there is nothing to agree with.")
    without = f" {found.unlabelled:,} samples without a label do not count." if found.unlabelled else ""
    alone = f" {found.unclustered:,} without a component are taken for one more group." if found.unclustered else ""
    return join(
        el("p", f"Samples grouped by their leading component, beside their labels.{without}{alone}"),
        facts(
            [
                ("accuracy", f"{found.accuracy:.4f}: the part with the label that its group is matched to"),
                ("NMI", f"{found.nmi:.4f}: normalized mutual information, 0 to 1"),
                ("adjusted Rand", f"{round(found.ari, 4) + 0.0:.4f}: 1 is the same grouping, 0 chance"),
                ("purity", f"{found.purity:.4f}: the part with the most frequent label of their group"),
            ]
        ),
    )
