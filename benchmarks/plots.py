"""One picture for each workload and number of threads: the distance from the best objective over time."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from solvers import is_peer

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F")
"""Okabe and Ito's colours, told apart by colour-blind people too; black is for nmfkit."""

STYLES = ("-", "--", ":", "-.")
NEAREST = 1e-6
"""A share above the best that is shown as the least there is."""

SPACE = 0.045
"""Between two names, as a share of the height."""


def plot(key, group, clock, folder):
    """Write the picture, and return its path."""
    workload, scale, seed, threads = key
    figure = Figure(figsize=(8, 5))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    figure.subplots_adjust(left=0.1, right=0.76, bottom=0.11, top=0.93)
    axes.set(xscale="log", yscale="log", xlabel=f"{clock} seconds", ylabel="above the best objective")
    axes.set_title(f"{workload}, {threads} thread{'s'[: threads > 1]}", loc="left")
    axes.grid(which="major", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    ends = [draw(axes, entry, clock, *look) for entry, look in zip(group, looks(group), strict=True)]
    label(axes, ends)
    path = folder / f"{workload}-{threads}{f'-scale-{scale:g}' * (scale != 1)}{f'-seed-{seed}' * (seed != 0)}.svg"
    figure.savefig(path)
    return path


def looks(group):
    """(colour, style, width) for each: peers go through the colours once with each style, nmfkit through the styles."""
    own = peers = 0
    for entry in group:
        if is_peer(entry.solver):
            yield COLOURS[peers % len(COLOURS)], STYLES[peers // len(COLOURS) % len(STYLES)], 1.4
            peers += 1
        else:
            yield "black", STYLES[own % len(STYLES)], 2.2
            own += 1


def draw(axes, entry, clock, colour, style, width):
    """The curve; returns its name, colour and last point."""
    seconds, gaps = zip(*entry.curve(clock), strict=True)
    gaps = np.maximum(gaps, NEAREST)
    axes.plot(seconds, gaps, color=colour, linestyle=style, linewidth=width, marker=".", markersize=3)
    name = entry.solver if entry.dtype == "float32" else f"{entry.solver} ({entry.dtype})"
    return name, colour, (seconds[-1], gaps[-1])


def label(axes, ends):
    """Names at the right, in the order in which the curves end, each with a line to its own."""
    axes.autoscale_view()  # else the limits are not yet those of the curves
    to_share = axes.transData + axes.transAxes.inverted()
    ends = sorted(ends, key=lambda end: end[2][1])
    places = spread([to_share.transform(point)[1] for *_, point in ends])
    for (name, colour, point), height in zip(ends, places, strict=True):
        axes.annotate(
            name, point, xytext=(1.03, height), textcoords="axes fraction", color=colour, va="center", fontsize=9,
            annotation_clip=False, arrowprops={"arrowstyle": "-", "color": colour, "alpha": 0.4, "linewidth": 0.7},
        )  # fmt: skip


def spread(heights, space=SPACE):
    """Ascending heights with `space` between any two, moved up as little as that takes."""
    placed = []
    for height in heights:
        placed.append(max(height, placed[-1] + space) if placed else height)
    over = max(0.0, placed[-1] - 1.0) if placed else 0.0
    return [height - over for height in placed]
