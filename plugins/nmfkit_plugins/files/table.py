"""`.csv`, `.tsv` and their `.gz`: a table of numbers, with names of columns and rows where it has them."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from nmfkit.errors import SourceError
from nmfkit.sources import ArraySource
from nmfkit_plugins.files.containers import affordable, no_key, refuse_unknown_missing

MISSING = frozenset(("", "NA", "N/A", "#N/A", "NULL", "null", "None", "none", "-", "?", "."))
"""Cells that stand for a number nobody knows."""

LOOKED_AFTER = 2**16
"""Lines after which the memory is looked at again."""


@dataclass(frozen=True)
class _Layout:
    """What the first lines tell: the features' names, if any, and whether the first column names the rows.

    `numbered`: the names are 0, 1, 2, …, so that those of the rows must be, too.
    """

    delimiter: str
    features: tuple[str, ...] | None
    named_rows: bool
    width: int
    numbered: bool
    holes: bool = False

    def is_number(self, cell: str) -> bool:
        """Whether the cell may stand where numbers do: with `holes`, so may one of a missing number."""
        return _is_number(cell) or (self.holes and cell.strip() in MISSING)

    def number(self, cell: str) -> float:
        """The number in the cell, NaN where it is missing; raises `ValueError` for a text."""
        return math.nan if self.holes and cell.strip() in MISSING else float(cell)


def read(path: str, *, key: str | None = None, delimiter: str = ",", missing: str = "none") -> ArraySource:
    """The table in `path`; raises `SourceError` naming the line and column of a cell that is no number.

    With `missing` "nan", blank cells and those such as NA, which stand for missing numbers, are read as NaN.
    """
    no_key(path, key)
    refuse_unknown_missing(missing)
    try:
        with _open(path) as file:
            layout = replace(_layout(path, file, delimiter), holes=missing == "nan")
        with _open(path) as file:
            values, rows = _parse(path, file, layout)
    except (EOFError, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read as a table: {error}") from error
    except ValueError as error:
        raise SourceError(_fault(path, layout) or f"{path} cannot be read as a table: {error}") from error
    return ArraySource(values, uri=path, row_names=rows, feature_names=layout.features)


def _open(path: str) -> TextIO:
    if path.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return Path(path).open(encoding="utf-8-sig", newline="")


def _layout(path: str, file: TextIO, delimiter: str) -> _Layout:
    """What the first lines tell: a first line of names, and a first column of them."""
    lines = [cells for _, cells in islice(_lines(file, delimiter), 3)]
    if not lines:
        raise SourceError(f"{path} is empty")
    first, second = lines[0], lines[min(1, len(lines) - 1)]
    counted = [line[0].strip() for line in lines[1:]] == ["1", "2"][: len(lines) - 1]
    header = len(lines) > 1 and _is_header(first, second)
    cells = second if header else first
    # R writes no name above the row names; numbers below such a line are data under a title, or rows cut short.
    short = header and len(first) == len(cells) - 1 and (_is_name(second[0]) or counted)
    named = len(cells) > 1 and (
        all(_is_name(line[0]) for line in lines[header:]) or short or (header and not first[0].strip())
    )
    features = tuple(c.strip() for c in first[int(named and not short) :]) if header else None
    numbered = header and _is_numbering(first) and not _is_name(second[0])
    return _Layout(delimiter, features, named, len(cells), numbered)


def _is_header(first: list[str], second: list[str]) -> bool:
    """Whether the first line names the columns: never by a cell that might as well be a bad number.

    All its cells are names, beside a corner that may be blank; or some are numbers, such as years, but the corner is
    no number and stands over names of rows.
    """
    corner, rest = first[0], first[1:] or first
    if _is_number(corner):
        return False
    if not any(map(_is_number, rest)):
        return any(map(_is_name, rest))
    return _is_name(second[0]) or _is_numbering(first)


def _is_numbering(first: list[str]) -> bool:
    """Whether the line is what pandas writes above columns without names: a blank corner, then 0, 1, 2, …."""
    return not first[0].strip() and first[1:] == [str(j) for j in range(len(first) - 1)]


def _parse(
    path: str, file: TextIO, layout: _Layout
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]], tuple[str, ...] | None]:
    """Every number (m, n), and the row names; a name counts as 0, so that loadtxt still counts the cells."""
    names: list[str] = []

    def keep(cell: str) -> float:
        names.append(cell.strip())
        return 0.0

    if layout.features is not None:
        next(_lines(file, layout.delimiter))
    table = np.loadtxt(
        _affordable_lines(path, file, layout.width),
        delimiter=layout.delimiter,
        comments=None,
        quotechar='"',
        ndmin=2,
        encoding=None,
        converters=_converters(layout, keep),
    )
    if table.shape[1] != layout.width or _named_width(layout) != layout.width:
        raise ValueError(f"lines have {layout.width} cells, the first has {_named_width(layout)}")
    if layout.numbered and names != [str(i) for i in range(len(names))]:
        raise ValueError("a blank cell stands before a line of numbers")
    if layout.named_rows:
        return np.ascontiguousarray(table[:, 1:]), tuple(names)
    return table, None


def _affordable_lines(path: str, file: TextIO, width: int) -> Iterator[str]:
    """The lines, until their numbers take more than there is memory: a small archive may unpack to any length."""
    for number, line in enumerate(file):
        if number % LOOKED_AFTER == 0:
            affordable(path, 8 * width * number)
        yield line


def _converters(layout: _Layout, keep: Callable[[str], float]) -> dict[int | str, Callable[[str], Any]] | None:
    """How cells of each column are read, where it is not as plain numbers."""
    special: dict[int | str, Callable[[str], Any]] = {}
    if layout.holes:
        special = dict.fromkeys(range(layout.width), layout.number)
    if layout.named_rows:
        special[0] = keep
    return special or None


def _named_width(layout: _Layout) -> int:
    return layout.width if layout.features is None else len(layout.features) + layout.named_rows


def _fault(path: str, layout: _Layout) -> str | None:
    """Where the first cell stands that is no number, or the first line of another length: slow and exact."""
    with _open(path) as file:
        lines = _lines(file, layout.delimiter)
        if layout.features is not None:
            number, cells = next(lines)
            if layout.numbered:
                return f"{path}, line {number}, column 1: a blank cell is not a number"
            if _named_width(layout) != layout.width:
                return f"{path}, line {number}: {len(cells)} names stand above {layout.width} cells"
        for i, (number, cells) in enumerate(lines):
            if len(cells) != layout.width:
                return f"{path}, line {number}: {len(cells)} cells where lines above have {layout.width}"
            for j in range(int(layout.named_rows), len(cells)):
                if not layout.is_number(cells[j]):
                    what = repr(cells[j]) if cells[j].strip() else "a blank cell"
                    # Somebody may have meant the first line as names.
                    header = i == 0 and layout.features is None and any(map(_is_number, cells))
                    why = ", and a line with numbers in it names no columns" if header else ""
                    return f"{path}, line {number}, column {j + 1}: {what} is not a number{why}"
    return None


def _lines(file: TextIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and cells of every line that is not blank."""
    reader = csv.reader(file, delimiter=delimiter)
    for cells in reader:
        if cells and (len(cells) > 1 or cells[0].strip()):
            yield reader.line_num, cells


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_name(cell: str) -> bool:
    """Whether the cell is a text, and none that stands for a missing number."""
    return not _is_number(cell) and cell.strip() not in MISSING
