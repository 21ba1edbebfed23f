"""The pictures of a selection and of a consensus."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.report.figures.style import FAINT, GRID, MARKERS, OKABE_ITO, canvas, drawing, plain_ticks, rendered
from nmfkit.report.output import check_file, write_file
from nmfkit.selection.advice import SILHOUETTE
from nmfkit.selection.table import RankRow

if TYPE_CHECKING:
    from nmfkit.selection.select import Selection

KINDS = (".png", ".svg", ".pdf")


def ready(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Raise `UsageError` or `StoreError`, before any work, where no picture could be written to `path` after it."""
    check_file(path, kinds=KINDS, overwrite=overwrite)
    with drawing():
        pass


def draw(selection: Selection, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Held-out loss, agreement of the replicates and relative error over the rank, the recommended one marked.

    Raises `UsageError` without matplotlib or for another kind of file, `StoreError` where `path` cannot be written.
    """
    target = check_file(path, kinds=KINDS, overwrite=overwrite)
    with drawing():
        figure = canvas(10.2, 3.4)
        ranks = [row.rank for row in selection.table]
        left, middle, right = figure.subplots(1, 3)
        _held_out(left, selection.table)
        _agreement(middle, selection.table)
        right.plot(ranks, [row.relative_error for row in selection.table], color=OKABE_ITO[0], marker="o", ms=4)
        right.set_title("Relative error of the best replicate")
        right.set_ylim(bottom=0)
        for ax in (left, middle, right):
            _over_ranks(ax, ranks, selection.rank)
        write_file(target, rendered(figure, target.suffix[1:].lower()))


def draw_density(density: Array, threshold: float, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """A histogram of local densities (c,), and the threshold above which components are dropped."""
    target = check_file(path, kinds=KINDS, overwrite=overwrite)
    with drawing():
        figure = canvas(6.0, 3.2)
        ax: Any = figure.subplots()
        ax.hist(density, bins=np.linspace(0, max(float(np.max(density)), threshold) * 1.02, 61), color=OKABE_ITO[0])
        ax.axvline(threshold, color=OKABE_ITO[5], linestyle="--")
        dropped = int(np.sum(density > threshold))
        ax.set_title(f"{dropped:,} of {len(density):,} components beyond the threshold {threshold:g}")
        ax.set_xlabel("mean distance to the nearest components of other replicates")
        ax.set_ylabel("components")
        plain_ticks(ax.yaxis)
        write_file(target, rendered(figure, target.suffix[1:].lower()))


def _held_out(ax: Any, rows: Sequence[RankRow]) -> None:
    ranks = [row.rank for row in rows]
    for losses in np.array([row.losses for row in rows]).T:
        ax.plot(ranks, losses, color=GRID, linewidth=0.8)
    errors = [row.standard_error for row in rows]
    ax.errorbar(ranks, [r.relative for r in rows], yerr=errors, color=OKABE_ITO[0], marker="o", ms=4, capsize=2)
    ax.set_title("Held-out loss (1: row × column means)")
    plain_ticks(ax.yaxis)


def _agreement(ax: Any, rows: Sequence[RankRow]) -> None:
    ranks = [row.rank for row in rows]
    shown = ("silhouette", "weakest", "similarity", "cophenetic")
    for name, colour, marker in zip(shown, OKABE_ITO, MARKERS, strict=False):
        ax.plot(ranks, [getattr(row, name) for row in rows], color=colour, marker=marker, ms=4, label=name)
    ax.axhline(SILHOUETTE, color=FAINT, linewidth=0.7, linestyle=":")
    ax.set_title("Agreement of the replicates")
    ax.legend(loc="lower left")


def _over_ranks(ax: Any, ranks: Sequence[int], chosen: int) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.axvspan(chosen - 0.3, chosen + 0.3, color=OKABE_ITO[1], alpha=0.25, linewidth=0)
    ax.set_xlabel("rank")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=min(12, len(ranks) + 1)))
    ax.margins(x=0.05)
