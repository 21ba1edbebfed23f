"""HTML that is escaped wherever it is not made here, so that no name can become markup."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Any

VOID = frozenset({"img", "meta", "link", "br", "hr", "path", "line", "rect", "circle"})
"""Elements without content."""


NAMELESS = "(blank)"
"""What stands for a name without a letter."""


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def el(name: str, /, *children: Any, **attributes: Any) -> Html:
    """An element; `children` are `Html`, or anything else, which is escaped, or None, which is left out.

    Attributes that are None or False are left out, True stands bare. An underscore at the end of a name is dropped
    (`class_`), others become dashes (`aria_label`).
    """
    given = "".join(_attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    if name in VOID:
        return Html(f"<{name}{given}/>")
    return Html(f"<{name}{given}>{join(*children)}</{name}>")


def join(*pieces: Any) -> Html:
    """The pieces one after the other, escaped unless they are `Html`."""
    return Html("".join(p if isinstance(p, Html) else html.escape(clean(p)) for p in pieces if p is not None))


def name_of(text: str, *, of: str = "name") -> Html:
    """A name from the data: cut off where it is too long for its place, in full when pointed at."""
    # <bdi> keeps a name written from right to left from turning round what stands beside it.
    text = clean(text).strip() or NAMELESS
    return el("span", el("bdi", text), class_=of, title=text)


def clean(text: Any) -> str:
    """`text` on one line, without what no page or picture can hold: control characters and lone surrogates."""
    return re.sub(r"\s+", " ", "".join(map(_shown, str(text))))


def shortened(text: str, width: int) -> str:
    """`text` cleaned, at most `width` characters: what is left out is in the middle, for names often end apart."""
    text = clean(text).strip() or NAMELESS
    if len(text) <= width:
        return text
    tail = (width - 1) * 2 // 5
    return f"{text[: width - 1 - tail].rstrip()}…{text[len(text) - tail :].lstrip()}"


def _shown(c: str) -> str:
    kind = unicodedata.category(c)
    if kind == "Cc":
        return " " if c.isspace() else "\N{REPLACEMENT CHARACTER}"
    # Directions set inside a name would reach beyond it.
    if c in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069":
        return ""
    return "\N{REPLACEMENT CHARACTER}" if kind in ("Cs", "Cn") else c


def _attribute(name: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{html.escape(clean(value))}"'
