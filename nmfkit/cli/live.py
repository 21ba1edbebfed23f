"""Live progress on a terminal: a few lines that are redrawn, and gone when the command is done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nmfkit.cli.progress import Lines, Meter
from nmfkit.cli.terminal import ramp_of, spelt

CALM = 0.4
"""Seconds before anything is drawn: what is done by then needs no progress."""
BAR = 24
ROOM = 60
"""Columns from which on there is room for a bar and a caption."""


class Drawn(Lines):
    """A meter that rich draws; its notes are printed above the line."""

    def __init__(self, console: Console, most: int | None) -> None:
        super().__init__(most)
        self.console = console

    def say(self, text: str) -> None:
        """Print a line above the live one."""
        self.console.print(Text(spelt(text, self.console.file)), soft_wrap=True)

    def say_notes(self) -> None:
        """Print the cautions above the live line."""
        for note in self.notes:
            self.say(f"note: {note}")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if time.monotonic() - self._told < CALM:
            yield Text("")
        elif self.state is None or not self.most:
            yield line(self.place(), console)
        else:
            head = drawn_place(self.place(), min(self.done, self.most) / self.most, console, options.max_width)
            yield Group(head, line(self.course(), console), *self._spark(console, options.max_width))

    def _spark(self, console: Console, width: int) -> Iterator[Text]:
        caption = spark_caption(self._tol, width)
        if blocks := self.spark(max(8, min(BAR, width - 2)), ramp_of(console.file)):
            yield line(blocks + caption, console)

    def _tell(self) -> None:
        """Rich redraws by itself."""


def spark_caption(tol: float, width: int) -> str:
    """What the blocks mean, where there is room."""
    if width < ROOM:
        return ""
    return " decrease, log scale" + (f"; lowest: tol {tol:g}" if tol else "")


def drawn_place(place: str, part: float, console: Console, width: int) -> Any:
    """The place of a fit, with a bar where there is room."""
    if width < ROOM:
        return line(place, console)
    head = Table.grid(padding=(0, 1))
    head.add_row(ProgressBar(1.0, part, width=BAR), line(place, console))
    return head


def line(text: str, console: Console) -> Text:
    """One line, cut where the terminal ends."""
    return Text(spelt(text, console.file), no_wrap=True, overflow="ellipsis" if ramp_fits(console) else "crop")


def ramp_fits(console: Console) -> bool:
    """Whether the terminal shows more than ASCII."""
    return spelt("…", console.file) == "…"


@contextmanager
def live(most: int | None) -> Iterator[Meter]:
    """A live line on standard error for as long as the block runs."""
    console = Console(stderr=True, highlight=False)
    meter = Drawn(console, most)
    with Live(meter, console=console, refresh_per_second=8, transient=True, redirect_stdout=False):
        yield meter
