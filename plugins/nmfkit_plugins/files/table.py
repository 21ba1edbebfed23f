"""`.csv`, `.tsv` and their `.gz`: a table of numbers, with names of columns and rows where it has them."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from nmfkit.errors import SourceError
from nmfkit.sources import ArraySource
from nmfkit_plugins.files.containers import no_key


@dataclass(frozen=True)
class _Layout:
    """What the first lines tell: the features' names, if any, and whether the first column names the rows."""

    delimiter: str
    features: tuple[str, ...] | None
    named_rows: bool
    width: int


def read(path: str, *, key: str | None = None, delimiter: str = ",") -> ArraySource:
    """The table in `path`; raises `SourceError` naming the line and column of a cell that is no number."""
    no_key(path, key)
    try:
        with _open(path) as file:
            layout = _layout(path, file, delimiter)
        with _open(path) as file:
            values, rows = _parse(file, layout)
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
    """Names are what is no number in the first line and the first column; a blank corner is a name too."""
    lines = list(islice(_lines(file, delimiter), 2))
    if not lines:
        raise SourceError(f"{path} is empty")
    first, second = lines[0][1], lines[-1][1]
    header = len(lines) > 1 and _is_header(first, second)
    cells = second if header else first
    short = header and len(first) == len(cells) - 1  # R writes no name above the row names
    named = len(cells) > 1 and (not _is_number(cells[0]) or short or (header and not first[0].strip()))
    features = tuple(c.strip() for c in first[int(named and not short) :]) if header else None
    return _Layout(delimiter, features, named, len(cells))


def _is_header(first: list[str], second: list[str]) -> bool:
    if len(first) == 1:
        return not _is_number(first[0])
    if any(c.strip() and not _is_number(c) for c in first[1:]) or not first[0].strip():
        return True
    return not _is_number(first[0]) and _is_number(second[0])


def _parse(
    file: TextIO, layout: _Layout
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]], tuple[str, ...] | None]:
    """Every number (m, n), and the row names; a name counts as 0, so that loadtxt still counts the cells."""
    names: list[str] = []

    def keep(cell: str) -> float:
        names.append(cell.strip())
        return 0.0

    if layout.features is not None:
        next(_lines(file, layout.delimiter))
    table = np.loadtxt(
        file,
        delimiter=layout.delimiter,
        comments=None,
        quotechar='"',
        ndmin=2,
        encoding=None,
        converters={0: keep} if layout.named_rows else None,
    )
    if table.shape[1] != layout.width or _named_width(layout) != layout.width:
        raise ValueError(f"lines have {layout.width} cells, the first has {_named_width(layout)}")
    if layout.named_rows:
        return np.ascontiguousarray(table[:, 1:]), tuple(names)
    return table, None


def _named_width(layout: _Layout) -> int:
    return layout.width if layout.features is None else len(layout.features) + layout.named_rows


def _fault(path: str, layout: _Layout) -> str | None:
    """Where the first cell stands that is no number, or the first line of another length: slow and exact."""
    with _open(path) as file:
        lines = _lines(file, layout.delimiter)
        if layout.features is not None:
            number, cells = next(lines)
            if _named_width(layout) != layout.width:
                return f"{path}, line {number}: {len(cells)} names stand above {layout.width} cells"
        for number, cells in lines:
            if len(cells) != layout.width:
                return f"{path}, line {number}: {len(cells)} cells where lines above have {layout.width}"
            for j in range(int(layout.named_rows), len(cells)):
                if not _is_number(cells[j]):
                    what = repr(cells[j]) if cells[j].strip() else "a blank cell"
                    return f"{path}, line {number}, column {j + 1}: {what} is not a number"
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
