"""Tables of the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nmfkit.report.html import Html, el


def table(
    head: Sequence[str], rows: Iterable[Sequence[Any]], *, numeric: Iterable[int] = (), caption: str | None = None
) -> Html:
    """A table with a heading; columns in `numeric` stand to the right, all but the first unless said otherwise."""
    right = set(numeric) or set(range(1, len(head)))
    top = el("tr", *(el("th", h, scope="col", class_="n" if i in right else None) for i, h in enumerate(head)))
    body = (
        el("tr", *(el("td", cell, class_="n" if i in right else None) for i, cell in enumerate(row))) for row in rows
    )
    named = el("caption", caption) if caption else None
    return el("div", el("table", named, el("thead", top), el("tbody", *body), class_="numbers"), class_="scroll")


def facts(rows: Iterable[tuple[str, Any]]) -> Html:
    """What stands beside what."""
    return el("table", el("tbody", *(el("tr", el("th", name, scope="row"), el("td", value)) for name, value in rows)))
