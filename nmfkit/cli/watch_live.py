"""A fit that runs elsewhere, drawn on this terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live

from nmfkit.cli.course import pace_text
from nmfkit.cli.live import BAR, drawn_place, line, spark_caption
from nmfkit.cli.sparkline import sparkline
from nmfkit.cli.terminal import ramp_of
from nmfkit.cli.text import duration, number
from nmfkit.cli.watch_text import place_line, status_text
from nmfkit.watch import Sighting


class Screen:
    """The last look, redrawn as time goes by."""

    def __init__(self) -> None:
        self._found: Sighting | None = None
        self._when = 0.0

    def show(self, found: Sighting) -> None:
        """Show this one from now on."""
        self._found, self._when = found, time.monotonic()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if (found := self._found) is None:
            return
        width, most = options.max_width, found.problem.get("max_sweeps") or 0
        tol = float(found.problem.get("tol") or 0.0)
        if found.sweep is not None and most:
            yield drawn_place(place_line(found), min(1.0, (found.sweep + found.part) / most), console, width)
        else:
            yield line(place_line(found), console)
        yield line(self._facts(found), console)
        columns = max(8, min(BAR, width - 2))
        if blocks := sparkline(found.curve, columns, tol, ramp_of(console.file), found.unfitted):
            yield line(blocks + spark_caption(tol, width), console)

    def _facts(self, found: Sighting) -> str:
        pieces = [] if found.objective is None else [f"objective {number(found.objective)}"]
        if found.pace:
            pieces.append(pace_text(found.pace))
        if found.status == "running":
            pieces.append(f"heard {duration((found.heard or 0.0) + time.monotonic() - self._when)} ago")
        else:
            pieces.append(status_text(found))
        return " · ".join(pieces)


@contextmanager
def screen() -> Iterator[Callable[[Sighting], None]]:
    """Lines on standard error that are redrawn for as long as the block runs, and gone after it."""
    drawn = Screen()
    console = Console(stderr=True, highlight=False)
    with Live(drawn, console=console, refresh_per_second=4, transient=True, redirect_stdout=False):
        yield drawn.show
