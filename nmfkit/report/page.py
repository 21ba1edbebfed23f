"""The page as a whole: title, figures at a glance, cautions, contents, sections."""

from __future__ import annotations

from importlib.resources import files
from pathlib import PurePosixPath

import numpy as np

from nmfkit import __version__
from nmfkit.cli.summary import parts
from nmfkit.cli.text import number
from nmfkit.report.cautions import Caution
from nmfkit.report.html import Html, el
from nmfkit.report.sections import Section, sections, sides_text
from nmfkit.report.study import Study

MARK = f"nmfkit {__version__}"
"""The generator that a page names, by which it is known as ours."""


def page(study: Study, found: list[Caution]) -> str:
    """The report as one page that needs nothing else."""
    below = list(sections(study))
    title = PurePosixPath(str(study.result.path or "result in memory").rstrip("/")).name
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="generator", content=MARK),
        el("link", rel="icon", href="data:,"),
        el("title", f"{title} – nmfkit report"),
        el("style", Html(files("nmfkit.report").joinpath("page.css").read_text("utf-8"))),
    )
    body = el(
        "body",
        el(
            "div",
            el(
                "header",
                el("h1", title),
                el("p", f"{sides_text(study)}, {parts(study.result)}", class_="sub"),
            ),
            _contents(below),
            el("main", _glance(study), _notes(found), *map(_section, below)),
            el(
                "footer",
                f"Made by {MARK}. Components are numbered by share, from 1; their index in the run counts from 0.",
            ),
            class_="frame",
        ),
    )
    return f"<!DOCTYPE html>\n{el('html', head, body, lang='en')}\n"


def _contents(below: list[Section]) -> Html:
    items = (el("li", el("a", s.title, href=f"#{s.name}")) for s in below)
    return el("nav", el("ol", *items), aria_label="Contents")


def _section(section: Section) -> Html:
    return el("section", el("h2", section.title), section.body, id=section.name)


def _glance(study: Study) -> Html:
    main, result = study.main, study.result
    ranks = study.components if study.has_levels else [main]
    found = [
        ("components", " · ".join(f"{found.rank:,}" for found in ranks)),
        ("objective", number(float(f"{result.objective:.5g}"))),
        ("sweeps", f"{result.state.sweep:,}"),
    ]
    if study.residuals is not None and np.isfinite(study.residuals.error):
        found.append((study.error_text, f"{study.residuals.error:.3f}"))
    if len(main.shares):
        found.append(("largest share", f"{100 * main.shares[0]:.1f} %"))
    for name, values in zip(main.layer.told, (main.sparsity_of_v, main.sparsity_of_w), strict=False):
        if values is not None and np.isfinite(values).any():
            found.append((f"sparsity of {name.upper()}", f"{np.nanmean(values):.2f}"))
    return el("dl", *(el("div", el("dt", name), el("dd", text)) for name, text in found), class_="figures")


def _notes(found: list[Caution]) -> Html:
    if not found:
        return el(
            "div",
            el("h2", "Nothing to worry about"),
            el("p", "The fit converged, no component is dead or the twin of another, no row or column is empty."),
            class_="notes fine",
        )
    return el(
        "div",
        el("h2", "Worth knowing first"),
        el("ul", *map(_note, found)),
        class_="notes",
    )


def _note(caution: Caution) -> Html:
    go_on = (" ", el("code", caution.command, class_="command")) if caution.command else ()
    return el("li", caution.text, *go_on)
