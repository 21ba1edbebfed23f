"""The components, a card each: an image, a spectrum or a profile, a map, and the features that weigh most."""

from __future__ import annotations

import numpy as np

from nmfkit.blocks import Array
from nmfkit.report.figures.heatmap import larger
from nmfkit.report.figures.style import tick
from nmfkit.report.html import Html, el, join, name_of
from nmfkit.report.images import image, pixels
from nmfkit.report.shapes import Axis
from nmfkit.report.study import Components, Study

OPEN = 60
"""Cards that are seen at once; the others open at a click."""
PROFILED = 200
"""Features up to which a card shows all of them, in their order."""
POINTS = 300
WIDE, TALL = 260.0, 70.0


def cards(study: Study, found: Components) -> Html:
    """All cards, the largest share first."""
    made = [_card(study, found, k) for k in range(found.rank)]
    shapes = study.shapes
    kind = "cards small" if shapes.features else "cards wide" if shapes.axis else "cards"
    first = el("div", *made[:OPEN], class_=kind)
    if found.rank <= OPEN:
        return first
    return join(
        first,
        el("details", el("summary", f"{found.rank - OPEN} more components"), el("div", *made[OPEN:], class_=kind)),
    )


def _card(study: Study, found: Components, k: int) -> Html:
    number, index = k + 1, int(found.order[k])
    share = f"{100 * found.shares[k]:.1f} %"
    title = f"share {share}; row {index} of {found.layer.shared} in the run"
    parts = [
        el("h4", str(number), el("span", f"{share} · index {index}", title=title)),
        _likeness(found, k),
        *_views(study, found, k),
    ]
    return el("div", *parts, class_="card")


def _likeness(found: Components, k: int) -> Html | None:
    if not found.matches or (match := found.matches[k]).name is None:
        return None
    good = "good" if match.cosine is not None and match.cosine >= 0.9 else None
    return el("p", name_of(match.name), ": ", el("span", f"{match.cosine:.2f}", class_=good), class_="like")


def _views(study: Study, found: Components, k: int) -> list[Html]:
    shapes = study.shapes
    row = found.v[k] if shapes.plain else found.pictured[k]
    views = []
    if found.weights is not None and found.weights.maps is not None:
        views.append(pixels(found.weights.maps[..., k], f"Where component {k + 1} is: its weights as an image"))
    if not row.any():
        return [*views, el("p", "all zero", class_="quiet")]
    if shapes.features:
        text = f"Component {k + 1} as an image"
        return [*views, image(row, shapes.features, text, found.rank, signed=found.signed)]
    if shapes.axis:
        return [*views, _spectrum(row, shapes.axis, k), _peaks(row, shapes.axis)]
    if len(row) <= PROFILED:
        views.append(_profile(row, k))
    return [*views, _bars(study, found, k)]


def _bars(study: Study, found: Components, k: int) -> Html:
    row = found.v[k]
    top = found.top(k, study.top)
    total, peak = float(np.sum(np.abs(row), dtype=np.float64)), float(np.abs(row[top[0]]))
    return el("ol", *(_bar(study.feature(int(j)), row[j] / peak, row[j] / total) for j in top), class_="bars")


def _bar(name: str, length: float, part: float) -> Html:
    kind, sign = ("minus", "−") if part < 0 else (None, "")
    return el(
        "li",
        name_of(name, of="label"),
        el("span", el("i", style=f"width:{100 * abs(float(length)):.1f}%", class_=kind), class_="bar"),
        el("span", f"{sign}{rough_percentage(abs(float(part)))}", class_="value"),
    )


def rough_percentage(part: float) -> str:
    """A part in a place of five letters: 12%, 1.2%, 0.12%, <0.01%."""
    if part < 0.00005:
        return "<0.01%"
    digits = 0 if part >= 0.0995 else 1 if part >= 0.00995 else 2
    return f"{100 * part:.{digits}f}%"


def _profile(row: Array, k: int) -> Html:
    """Every feature as a bar, in the order of the data."""
    step = WIDE / len(row)
    width = max(0.6, 0.8 * step)
    base, room = _room(row)
    heights = room * row / np.abs(row).max()
    marks = (f"M{(j + 0.5) * step:.1f} {base:.0f}v{-h:.1f}" for j, h in enumerate(heights) if abs(h) > 0.05)
    path = el("path", d="".join(marks), stroke="#0072b2", stroke_width=f"{width:.2f}", fill="none")
    return _drawing(path, f"Component {k + 1}: its {len(row)} features in the order of the data", base)


def _room(row: Array) -> tuple[float, float]:
    """Where 0 is in a chart, from its top, and how far the entry of largest size goes."""
    return (TALL / 2, TALL / 2 - 2) if row.min() < 0 else (TALL - 1, TALL - 4)


def _spectrum(row: Array, axis: Axis, k: int) -> Html:
    order = np.argsort(axis.values, kind="stable")
    x, y = _envelope(axis.values[order], row[order])
    low, high = float(x[0]), float(x[-1])
    at = (x - low) / (high - low) * WIDE
    base, room = _room(row)
    up = base - room * y / np.abs(row).max()
    line = "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(at, up, strict=True))
    area = el("path", d=f"M0 {base:.0f}L{line}L{WIDE:.0f} {base:.0f}Z", fill="#0072b2", fill_opacity="0.22")
    edge = el("path", d=f"M{line}", stroke="#0072b2", stroke_width="1.3", fill="none", stroke_linejoin="round")
    below = el("div", *(el("span", t) for t in _ticks(axis, low, high)), class_="ticks")
    return join(_drawing(join(area, edge), f"Component {k + 1} along {axis.title}", base), below)


def _ticks(axis: Axis, low: float, high: float) -> list[str]:
    unit = f" {axis.unit}" if axis.unit else ""
    return [rounded(low, high - low), rounded((low + high) / 2, high - low), rounded(high, high - low) + unit]


def rounded(value: float, span: float) -> str:
    """A value on an axis, to about a hundredth of what the axis spans."""
    digits = max(0, 2 - int(np.floor(np.log10(span))))
    return tick(float(f"{value:.{digits}f}"))


def _envelope(x: Array, y: Array) -> tuple[Array, Array]:
    """At most `POINTS` points: of neighbours that would share one, that of largest size."""
    if len(x) <= POINTS:
        return x, y
    edges = np.linspace(0, len(x), POINTS + 1).astype(int)[:-1]
    return np.concatenate([x[edges[:-1]], x[-1:]]), larger(np.maximum.reduceat(y, edges), np.minimum.reduceat(y, edges))


def _peaks(row: Array, axis: Axis) -> Html:
    span = float(axis.values.max() - axis.values.min())
    places = [f"{rounded(float(axis.values[j]), span)}" for j in peaks(np.abs(row))]
    unit = f" {axis.unit}" if axis.unit else ""
    return el("p", "peaks at " if len(places) > 1 else "peak at ", ", ".join(places), unit, class_="peaks")


def peaks(row: Array, most: int = 4, least: float = 0.1) -> list[int]:
    """The highest peaks, highest first: at most so many, each standing out by a part `least` of the largest entry."""
    from scipy.signal import find_peaks

    tops, _ = find_peaks(np.concatenate([[0.0], row, [0.0]]), prominence=least * float(row.max()))
    tops = tops - 1
    return [int(j) for j in tops[np.argsort(-row[tops], kind="stable")][:most]]


def _drawing(inside: Html, text: str, base: float) -> Html:
    line = el("path", d=f"M0 {base + 0.5}H{WIDE:.0f}", stroke="#9aa3a9", stroke_width="1")
    return el("svg", line, inside, viewBox=f"0 0 {WIDE:.0f} {TALL:.0f}", role="img", aria_label=text)
