"""Tables of text: a file a factor, every number in the fewest digits that give it back exactly."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from nmfkit.blocks import Array
from nmfkit.export.contents import LABELS, Contents, columns_of

CELLS = 2**16
"""Numbers that are text in memory at once."""

WINDOWS = "\r\n"


def write(contents: Contents, folder: Path) -> None:
    """`w.csv` (a line a row of X, a column a component), `h.csv` (a line a component, a column a feature), and so on.

    The first line names the columns, the first column the lines. `history.csv` has the history. Of a model that groups
    the rows, `labels.csv` has the group of each, and its part in it.
    """
    for name, (width, _) in contents.row_factors.items():
        lines = (row for _, block in contents.blocks(name) for row in _texts(block))
        _write(folder / f"{name}.csv", contents.column_names(name, width), contents.row_labels, lines)
    if contents.is_grouping:
        pairs = (pair for label, part in contents.groups() for pair in zip(_texts(label), _texts(part), strict=True))
        lines = ([*label, *part] for label, part in pairs)
        _write(folder / f"{LABELS}.csv", ["label", "membership"], contents.row_labels, lines)
    for name, factor in contents.shared.items():
        table = columns_of(factor)
        of_features = contents.of_features(name)
        header = contents.column_labels if of_features else contents.column_names(name, table.shape[1])
        _write(folder / f"{name}.csv", header, contents.line_names(name, len(table)), _texts(table))
    with (folder / "history.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(_Lines(file))
        out.writerow(("sweep", "objective", "seconds"))
        out.writerows((r.sweep, repr(r.objective), repr(r.seconds)) for r in contents.result.state.history)


class _Lines:
    """Ends lines as Unix does: the csv module quotes every kind of line end only where it writes those of Windows."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: str) -> None:
        """One line of the table."""
        self._file.write(f"{line.removesuffix(WINDOWS)}\n")


def _write(path: Path, header: Iterable[Any], labels: Sequence[Any], lines: Iterator[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(_Lines(file))
        out.writerow(["", *header])
        out.writerows([label, *line] for label, line in zip(labels, lines, strict=True))


def _texts(table: Array) -> Iterator[list[str]]:
    """Each row as texts: NumPy's are the shortest that give back a number of that dtype."""
    table = columns_of(table)
    step = max(1, CELLS // max(1, table.shape[1]))
    for lo in range(0, len(table), step):
        yield from np.asarray(table[lo : lo + step]).astype(np.dtypes.StringDType()).tolist()
