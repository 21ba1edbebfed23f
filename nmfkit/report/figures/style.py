"""How all pictures look, and how they become bytes: colours that everybody can tell apart, one typeface."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nmfkit.errors import UsageError
from nmfkit.report.html import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442")
"""The colours of Okabe & Ito, which the colour-blind tell apart; yellow last, since it is faint on white."""
MARKERS = "osD^vPX*"
INK, FAINT, GRID = "#222222", "#666666", "#dddddd"
MAP = "viridis"
"""The colour map of values from 0 on: even to the eye, and in grey, too."""
DIVERGING = "RdBu"
"""That of values of either sign: red below 0, white, blue above, which the colour-blind tell apart."""
FALLBACKS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Source Han Sans", "WenQuanYi Zen Hei", "Hiragino Sans", "PingFang SC",
    "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari",
    "Noto Sans Thai", "Noto Emoji", "Symbola", "Segoe UI Symbol",
)  # fmt: skip
"""Families that have letters which the first one lacks, where they are installed."""
DPI = 160
WIDTH = 10.2
"""Inches of a picture that takes the whole width of the page."""


@contextmanager
def drawing() -> Iterator[None]:
    """Settings for as long as pictures are drawn; raises `UsageError` where matplotlib is missing."""
    try:
        import matplotlib
        from matplotlib.font_manager import fontManager
    except ImportError as error:
        raise UsageError('pictures need matplotlib, which is not installed: pip install "nmfkit[plot]"') from error
    there = set(fontManager.get_font_names())
    settings: dict[Any, Any] = {
        "font.family": ["DejaVu Sans", *(name for name in FALLBACKS if name in there)],
        "font.size": 9,
        "text.parse_math": False,  # a name may hold dollar signs
        "text.usetex": False,
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.labelcolor": INK,
        "axes.edgecolor": FAINT,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.unicode_minus": True,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "svg.hashsalt": "nmfkit",
        "svg.fonttype": "path",
        "pdf.fonttype": 42,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # A letter that no font here has is drawn as a box; the page has every name as text.
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


def canvas(width: float, height: float, *, laid_out: bool = True) -> Figure:
    """An empty figure of so many inches, apart from any that pyplot knows; its axes are laid out by their texts."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained" if laid_out else None)
    FigureCanvasAgg(figure)
    return figure


def say_indices(figure: Figure, order: Iterable[int], most: int = 24) -> None:
    """Tell below a picture which index in the run each component has, as far as there is room."""
    indices = [str(k) for k in order]
    more = ", …" if len(indices) > most else ""
    told = f"Components are numbered by share; index in the run: {', '.join(indices[:most])}{more}"
    figure.supxlabel(told, fontsize=7, color=FAINT, x=0.01, ha="left")


def rendered(figure: Figure, kind: str, dpi: int = DPI) -> bytes:
    """The figure as "png", "svg" or "pdf"; the same figure gives the same bytes."""
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": "nmfkit"},
        "svg": {"Creator": "nmfkit", "Date": None},
        "pdf": {"Creator": "nmfkit", "CreationDate": None},
    }
    out = io.BytesIO()
    figure.savefig(out, format=kind, dpi=dpi, metadata=metadata[kind])
    return out.getvalue()


def label(text: str, width: int = 22) -> str:
    """A name as pictures show it."""
    return shortened(text, width)


def plain_ticks(axis: Any) -> None:
    """Numbers beside an axis as people write them, without powers set by a formula."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(tick))
    axis.set_minor_formatter(NullFormatter())


def tick(value: float, _position: Any = None) -> str:
    """A number as people write it: 1,200, 0.05, 2.5×10⁶."""
    size = abs(value)
    if not math.isfinite(value):
        return ""
    if size >= 1e6 or 0 < size < 1e-3:
        digits, _, power = f"{value:.2e}".partition("e")
        factor = digits.rstrip("0").rstrip(".")
        raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        text = f"10{raised}" if factor == "1" else f"{factor}×10{raised}"
    else:
        text = f"{value:,.0f}" if size >= 1e4 else f"{value:,.4g}"
    return text.replace("-", "−")


def heat(
    ax: Axes,
    values: Any,
    *,
    title: str = "",
    high: float | None = None,
    bar: str = "",
    width: float = 0.018,
    signed: bool = False,
) -> None:
    """A matrix as colours from 0 to `high`, or from −`high` where it is `signed`.

    `bar` labels their scale, `width` is its width in that of the matrix.
    """
    low = -high if signed and high is not None else 0
    colours = DIVERGING if signed else MAP
    image = ax.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    ax.set_title(title)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(length=0)
    figure: Any = ax.figure
    scale = figure.colorbar(image, cax=ax.inset_axes((1 + width, 0.0, width, 1.0)))
    scale.outline.set_visible(False)
    scale.set_label(bar)
    plain_ticks(scale.ax.yaxis)


def numbers(count: int, most: int) -> list[int]:
    """Places, from 0, of about `most` labels for `count` things: all of them, or every so many as 1, 5, 10, … ."""
    if count <= most:
        return list(range(count))
    step = next(s for s in (2, 5, 10, 20, 25, 50, 100, 200, 500, 10**9) if count / s <= most)
    return [0, *range(step - 1, count, step)]


def number_axis(set_ticks: Callable[..., Any], count: int, most: int = 26) -> None:
    """The numbers of components beside an axis."""
    places = numbers(count, most)
    set_ticks(places, [str(i + 1) for i in places])


def name_axis(set_ticks: Callable[..., Any], names: Sequence[str], places: Sequence[int], **text: Any) -> None:
    """Names beside an axis, cut to their place."""
    set_ticks(list(places), [label(names[i]) for i in places], **text)
