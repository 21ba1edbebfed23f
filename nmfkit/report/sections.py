"""The sections of the report, in their order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmfkit.cli.summary import consensus_of, parts, why
from nmfkit.cli.text import duration, number, shape_text
from nmfkit.problem import part_text
from nmfkit.report.figures.convergence import convergence
from nmfkit.report.html import Html, el, join
from nmfkit.report.images import picture
from nmfkit.report.on_clusters import on_clusters
from nmfkit.report.on_components import alike, beside_reference, components
from nmfkit.report.on_consensus import made_of
from nmfkit.report.on_levels import levels
from nmfkit.report.on_residuals import residual
from nmfkit.report.on_samples import coefficients
from nmfkit.report.study import Components, Study
from nmfkit.report.tables import facts
from nmfkit.result import Result


@dataclass(frozen=True)
class Section:
    """A heading, its anchor, and what stands below."""

    name: str
    title: str
    body: Html


def sections(study: Study) -> Iterator[Section]:
    """All that there is something to show for, in the order of the page."""
    yield Section("fitted", "What was fitted", fitted(study))
    if (about := consensus_of(study.result)) is not None:
        yield Section("consensus", "Consensus", made_of(study, about))
    else:
        yield Section("convergence", "Convergence", _convergence(study))
    if study.clusters is not None:
        yield Section("clusters", "Clusters", on_clusters(study, study.clusters))
    if study.has_levels:
        yield Section("levels", "Levels", levels(study))
    for i, found in enumerate(study.components):
        mark = "" if len(study.components) == 1 else f"-{i + 1}"
        if not (found.layer.symmetric and study.shapes.plain):  # then clusters and their members say it all
            yield Section(f"components{mark}", _of(study, found, "Components"), components(study, found))
        if found.weights is not None:
            yield Section(f"coefficients{mark}", _of(study, found, "Coefficients"), coefficients(study, found))
        yield Section(f"similarity{mark}", _of(study, found, "Similarity and sparsity"), alike(study, found))
        if found.matches:
            yield Section(f"reference{mark}", _of(study, found, "Beside the reference"), beside_reference(study, found))
    yield Section("residuals", "Residuals of level 1" if study.has_levels else "Residuals", residual(study))
    yield Section("versions", "Made with", _made_with(study))


def _of(study: Study, found: Components, title: str) -> str:
    """A title, and what of, where there is more than one of that kind."""
    if study.has_levels:
        return f"Level {found.layer.level}: {title[0].lower()}{title[1:]}"
    return title if len(study.components) == 1 else f"{title} of {found.layer.shared}"


def fitted(study: Study) -> Html:
    """The problem, the data and how it ended."""
    result, source = study.result, study.result.attributes["source"]
    problem = result.problem
    seconds = result.attributes.get("timings", {}).get("total_seconds", result.state.history[-1].seconds)
    known: list[tuple[str, Any]] = [
        ("data", el("code", source["uri"])),
        ("matrix", _matrix(study)),
        *_factorized(result),
        ("problem", parts(result)),
        ("factors", ", ".join(f"{found.layer.weights or '–'} · {found.layer.shared}" for found in study.components)),
        ("objective", number(result.objective)),
        ("sweeps", f"{result.state.sweep}, {why(result)}"),
        ("time", duration(seconds)),
        ("start", _start(result)),
    ]
    if problem.model_options:
        known.append(("model options", ", ".join(f"{k} = {v}" for k, v in problem.model_options.items())))
    known += [(name, str(text)) for name, text in (source.get("observed") or {}).items()]
    return facts(known)


def _factorized(result: Result) -> list[tuple[str, Any]]:
    """What is factorized, where that is not the matrix itself."""
    shape = shape_text((result.shape[0], result.width))
    return [("factorized", f"{shape}, made of the features by the model")] if result.is_viewed else []


def _start(result: Result) -> str:
    about = consensus_of(result)
    init = f"{part_text(result.problem.init)}, " if "init" in result.model.takes else ""
    if about is None:
        return f"{init}seed {result.problem.seed}"
    return f"{init}seeds {about['seeds'][0]} to {about['seeds'][1]}"


def sides_text(study: Study) -> str:
    """The shape, and what rows and columns are."""
    return f"{shape_text(study.result.shape)} ({'symmetric' if study.symmetric else 'samples × features'})"


def _matrix(study: Study) -> str:
    result = study.result
    source = result.attributes["source"]
    pieces = [
        sides_text(study),
        source["dtype"],
        *(["sparse"] if source["sparse"] else []),
    ]
    if stored := source.get("sums", {}).get("nonzero"):
        cells = result.shape[0] * result.shape[1]
        few = cells - stored < 0.005 * cells
        pieces.append(
            f"{cells - stored:,} entries are zero"
            if few
            else f"{100 * stored / cells:.3g} % of the entries are not zero"
        )
    return ", ".join(pieces)


def _made_with(study: Study) -> Html:
    return join(
        el(
            "p", "The software that made the run; the same versions, seed and data give the same factors.", class_="how"
        ),
        facts(study.result.attributes["versions"].items()),
    )


def _convergence(study: Study) -> Html:
    last = study.result.state.history[-1]
    if len(study.result.state.history) < 2:
        return el("p", f"No sweep was done: the objective, {number(last.objective)}, is that of the start.")
    weighted = ""
    if study.has_levels:
        weighted = "The objective is the sum of the layers' losses, each times its weight, and of the regularizers. "
    explained = ""
    if np.isfinite(study.result.state.unfitted):
        explained = ", or of what the factors explain of the data where that is less"
    return picture(
        convergence(study),
        f"Three curves: the objective by sweep and by seconds, ending at {number(last.objective)} after {last.sweep} "
        "sweeps, and the gain of ten sweeps beside the tolerance",
        f"{weighted}A curve that has become flat has settled. On the right, by how much ten sweeps lowered the "
        f"objective, as a part of what it then was{explained}: the fit is converged where it falls below the dashed "
        "line, the tolerance. Axes are logarithmic where values differ much.",
    )
