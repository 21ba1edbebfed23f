"""What `verbose` prints."""

from __future__ import annotations

from typing import Any

from nmfkit.api import Warner

EVERY = 10
"""Sweeps between two lines; with `verbose` of 2 or more, every sweep has one."""


class Printer(Warner):
    """A line on standard output every so many sweeps, as scikit-learn's estimators do."""

    def __init__(self, verbose: int) -> None:
        self.every = EVERY if verbose == 1 else 1

    def sweep(self, state: Any) -> None:
        """One line, with the last sweep always among them."""
        if state.sweep % self.every == 0 or state.stopped_by:
            seconds = state.history[-1].seconds
            print(f"Sweep {state.sweep:03d} after {seconds:.3f} seconds, objective: {state.objective:.6g}")


def watcher_of(verbose: Any) -> Warner:
    """What hands cautions to Python's warnings, and prints if `verbose`."""
    return Printer(int(verbose)) if verbose else Warner()
