"""Tables for a terminal and for a page."""

import math
import sys
from dataclasses import dataclass
from typing import Any

NOTHING = "–"


@dataclass(frozen=True)
class Table:
    """Rows of texts under heads; the first column is aligned on the left."""

    title: str
    heads: tuple[str, ...]
    rows: list[list[str]]

    def markdown(self) -> str:
        rule = ["---"] + ["---:"] * (len(self.heads) - 1)
        lines = ["| " + " | ".join(cells) + " |" for cells in (self.heads, rule, *self.rows)]
        return "\n".join([f"### {self.title}", "", *lines, ""])

    def rich(self) -> Any:
        from rich import box
        from rich.table import Table as RichTable

        table = RichTable(title=self.title, title_justify="left", box=box.SIMPLE_HEAD)
        for number, head in enumerate(self.heads):
            table.add_column(head, justify="right" if number else "left", no_wrap=True)
        for row in self.rows:
            table.add_row(*row)
        return table


def number(value, unit="", scale=1.0) -> str:
    """Three digits, or a dash where there is nothing to tell."""
    if value is None or not math.isfinite(value):
        return NOTHING
    value *= scale
    return f"{value:,.0f}{unit}" if abs(value) >= 100 else f"{value:.3g}{unit}"


def show(tables):
    """Print them: drawn on a terminal, as Markdown into a pipe."""
    if not sys.stdout.isatty():
        print("\n".join(table.markdown() for table in tables))
        return
    from rich.console import Console

    for table in tables:
        Console().print(table.rich())
