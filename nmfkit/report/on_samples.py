"""The section about the samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nmfkit.blocks import Array
from nmfkit.cli.text import percent
from nmfkit.clustering.agreement import adjusted_rand, purity
from nmfkit.report.figures.samples import by_label, label_parts, sample_map, sample_table
from nmfkit.report.html import Html, el, join, name_of
from nmfkit.report.images import picture
from nmfkit.report.labels import told_apart
from nmfkit.report.study import Components, Study
from nmfkit.report.tables import table


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
    if study.labels is not None and weights.table is not None:
        body += _labelled(study, found, weights.table)
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


def _labelled(study: Study, found: Components, counts: Array) -> Iterator[Html]:
    assert study.labels is not None
    means = label_parts(found)
    shown = range(min(found.rank, 8))
    yield el("h3", "Components by label")
    yield _agreement(told_apart(study.labels, counts), len(counts))
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


def _agreement(counts: Array, groups: int) -> Html:
    """How far leading components agree with the labels that are told apart, of so many `groups`."""
    if not counts.any():
        return el("p", "No label is told apart, so there is nothing to agree with.")
    less = "" if len(counts) == groups else " Samples without a label, or with one that is pooled, do not count."
    return el(
        "p",
        f"Grouped by their leading component, the samples agree with the labels to a purity of {purity(counts):.2f} "
        "(part of samples whose label is the most frequent one in their group) and an adjusted Rand index of "
        f"{round(adjusted_rand(counts), 2) + 0.0:.2f} (1 is the same grouping, 0 chance).{less}",
    )
