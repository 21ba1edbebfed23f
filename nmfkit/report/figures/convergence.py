"""How the objective went down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.report.figures.style import GRID, OKABE_ITO, WIDTH, canvas, plain_ticks
from nmfkit.report.study import Study
from nmfkit.stopping import WINDOW, gain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def convergence(study: Study) -> Figure:
    """The objective by sweep and by seconds, and what ten sweeps gained beside what the tolerance asks for."""
    history = study.result.history
    figure = canvas(WIDTH, 2.7)
    by_sweep, by_time, last = figure.subplots(1, 3)
    for ax, x, name in ((by_sweep, history.sweep, "sweep"), (by_time, history.seconds, "seconds")):
        ax.plot(x, history.objective, color=OKABE_ITO[0], lw=1.6, marker="o" if len(x) < 15 else None, ms=3)
        ax.set(xlabel=name, title=f"Objective by {name}")
        _scale(ax, history.objective)
    _gains(last, gains(history.objective, study.result.state.unfitted), history.sweep, study.result.problem.tol)
    for ax in (by_sweep, last):
        ax.xaxis.get_major_locator().set_params(integer=True)
    for ax in (by_sweep, by_time, last):
        ax.grid(color=GRID, lw=0.6)
        plain_ticks(ax.xaxis)
        plain_ticks(ax.yaxis)
    return figure


def gains(objective: Array, unfitted: float = np.inf) -> Array:
    """The gain of the ten sweeps before each from the eleventh record on, which `tol` is compared with."""
    pairs = zip(objective[:-WINDOW].tolist(), objective[WINDOW:].tolist(), strict=True)
    return np.array([gain(before, now, unfitted) for before, now in pairs])


def _gains(ax: Any, found: Array, sweeps: Array, tol: float) -> None:
    ax.set(xlabel="sweep", title=f"Gain of the last {WINDOW} sweeps")
    if not len(found):
        ax.text(0.5, 0.5, f"fewer than {WINDOW} sweeps", ha="center", va="center", transform=ax.transAxes)
        return
    rising = np.where(found > 0, found, np.nan)
    ax.plot(sweeps[WINDOW:], rising, color=OKABE_ITO[0], lw=1.6)
    if not np.isfinite(rising).any():
        ax.text(0.5, 0.5, "nothing gained", ha="center", va="center", transform=ax.transAxes)
        return
    ax.set_yscale("log")
    if tol > 0:
        ax.axhline(tol, color=OKABE_ITO[5], lw=1.2, ls="--")
        ax.text(0.02, tol, f"--tol {tol:g}", color=OKABE_ITO[5], va="bottom", transform=ax.get_yaxis_transform())


def _scale(ax: Any, objective: Array) -> None:
    low, high = float(np.min(objective)), float(np.max(objective))
    if low <= 0 or high / low < 3:
        return
    from matplotlib.ticker import FixedLocator, NullLocator

    ax.set_yscale("log")
    # Round numbers at hand of the eye: a decade alone may have a single tick.
    steps = (1, 2, 5) if high / low < 1e3 else (1,)
    ticks = [s * 10.0**e for e in range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1) for s in steps]
    ax.yaxis.set_major_locator(
        FixedLocator([t for t in ticks if 0.8 * low <= t <= 1.25 * high][:: 1 + len(ticks) // 12])
    )
    ax.yaxis.set_minor_locator(NullLocator())
