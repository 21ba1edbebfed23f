"""The section about what a consensus is made of, in the place of a fit's convergence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nmfkit.cli.text import percent
from nmfkit.report.html import Html, el, join
from nmfkit.report.study import Study
from nmfkit.report.tables import table


def made_of(study: Study, about: Mapping[str, Any]) -> Html:
    """How many replicates there were, what was dropped, and how tight each cluster is."""
    dropped, of = about["dropped"], about["components"]
    rows = (
        [str(number), str(index), f"{about['sizes'][index]:,}", f"{about['silhouette'][index]:.2f}"]
        for number, index in study.numbered
    )
    return join(
        el(
            "p",
            f"Of {of:,} components of {about['replicates']:,} replicates, {dropped:,} ({percent(dropped / of)}) were "
            "dropped, those whose mean distance to their nearest neighbours is above "
            f"{about['density_threshold']:g}. The others were clustered; each component is the median of a "
            "cluster, and W is fitted to these.",
        ),
        table(["component", "index in the run", "members", "silhouette"], rows),
        el(
            "p",
            "Members: how many components of the replicates a cluster holds, where one for each replicate is to be "
            "expected. Silhouette: 1 is a tight cluster far from the others, 0 none at all.",
            class_="how",
        ),
    )
