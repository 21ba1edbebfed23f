"""Live progress on a terminal: two lines that are redrawn, and gone when the command is done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nmfkit.cli.progress import Lines, Meter

CALM = 0.4
"""Seconds before anything is drawn: what is done by then needs no progress."""


class Drawn(Lines):
    """A meter that rich draws; its notes are printed above the line."""

    def __init__(self, console: Console, most: int | None) -> None:
        super().__init__(most)
        self.console = console

    def say(self, text: str) -> None:
        """Print a line above the live one."""
        self.console.print(Text(text), soft_wrap=True)

    def say_notes(self) -> None:
        """Print the cautions above the live line."""
        for note in self.notes:
            self.console.print(Text(f"note: {note}"), soft_wrap=True)

    def __rich__(self) -> Any:
        if time.monotonic() - self._told < CALM:
            return Text("")
        if self.state is None or not self.most:
            return Text(self.place())
        head = Table.grid(padding=(0, 1))
        head.add_row(ProgressBar(self.most, min(self.done, self.most), width=24), Text(self.place()))
        return Group(head, Text(self.course(), no_wrap=True, overflow="ellipsis"))

    def _tell(self) -> None:
        """Rich redraws by itself."""


@contextmanager
def live(most: int | None) -> Iterator[Meter]:
    """A live line on standard error for as long as the block runs."""
    console = Console(stderr=True, highlight=False)
    meter = Drawn(console, most)
    with Live(meter, console=console, refresh_per_second=8, transient=True, redirect_stdout=False):
        yield meter
