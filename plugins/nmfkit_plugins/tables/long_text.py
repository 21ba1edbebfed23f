"""Long tables in text: CSV and its kin, by lines."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from itertools import chain

import numpy as np

from nmfkit.errors import SourceError, UsageError
from nmfkit_plugins.files.delimited import Line, cells_of, delimiter_of
from nmfkit_plugins.files.identifiers import heads
from nmfkit_plugins.files.lines import number, text_lines
from nmfkit_plugins.files.table import MISSING
from nmfkit_plugins.tables.long import Entries, Triple

NUMERIC = re.compile(r"[-+]?(\.?\d|(inf|infinity|nan)$)", re.IGNORECASE)
"""How a number begins, however it goes on."""

PART = 2**16
"""Entries handed on together."""

DELIMITERS = ("::", ",", ";", "|")
"""What may part the cells, beside tabs; blanks where there is none of these."""


def entries(path: str, triple: Triple) -> Iterator[Entries]:
    """The entries of the text in `path`; a first line whose value is no number names the columns."""
    lines = _cells(path)
    first, second = next(lines, None), next(lines, None)
    if first is None:
        raise SourceError(f"{path} is empty")
    rest = lines if second is None else chain([second], lines)
    header = _is_header(first[1], triple) or (len(first[1]) == 2 and heads(path, first[1], second and second[1]))
    places = _places(path, first[1], triple, header)
    wide = max(places) + 1
    rows, columns, values = [], [], array("d")  # type: ignore[var-annotated] # filled below
    start = 0
    for line, cells in rest if header else chain([first], rest):
        if len(cells) < wide:
            raise SourceError(f"{path}, line {line}: {len(cells)} cells, {wide} are needed")
        if len(values) == PART or (values and line != start + len(values)):
            yield Entries(start, rows, columns, np.asarray(values))
            rows, columns, values = [], [], array("d")
        start = start if values else line
        for what, texts, at in (("row", rows, places[0]), ("column", columns, places[1])):
            if not cells[at]:
                raise SourceError(f"{path}, line {line}, column {at + 1}: the name of the {what} is blank")
            texts.append(cells[at])
        values.append(
            number(cells[places[2]], f"{path}, line {line}, column {places[2] + 1}") if len(places) > 2 else 1
        )
    if values:
        yield Entries(start, rows, columns, np.asarray(values))


def _cells(path: str) -> Iterator[Line]:
    """Line numbers and cells of every line that is not blank nor a comment."""
    delimiter: str | None = None
    seen = False
    for line, text in text_lines(path):
        if not text.strip() or text.startswith("#"):
            continue
        if not seen:
            delimiter, seen = delimiter_of(path, text, DELIMITERS), True
        yield line, [cell.strip() for cell in cells_of(path, line, text, delimiter)]


def _is_header(cells: list[str], triple: Triple) -> bool:
    """Whether a first line names the columns: where the user names them, or where its value is no number."""
    if any(given is not None and not given.isdecimal() for given in triple):
        return True
    at = int(triple.value) - 1 if triple.value else 2
    if at >= len(cells):
        return False
    # A value that nobody can read is a fault of the table, not the name of a column.
    return bool(cells[at]) and cells[at] not in MISSING and not NUMERIC.match(cells[at])


def _places(path: str, cells: list[str], triple: Triple, header: bool) -> tuple[int, ...]:
    """The places of row, column and value, from 0; without a value where there are but two columns."""
    names = cells if header else []
    given = [_place(path, what, text, names, len(cells)) for what, text in triple._asdict().items()]
    wanted = [at if at is not None else i for i, at in enumerate(given)]
    if len(cells) == 2 and given[2] is None:
        wanted = wanted[:2]
    if max(wanted) >= len(cells):
        raise SourceError(f"{path} has {len(cells)} columns; a long table has two or three: row, column, value")
    if len(set(wanted)) < len(wanted):
        raise UsageError(
            f"{path}: row, column and value are the columns {', '.join(str(w + 1) for w in wanted)}: "
            "name three different ones with row=, column= and value="
        )
    return tuple(wanted)


def _place(path: str, what: str, text: str | None, names: list[str], width: int) -> int | None:
    if text is None:
        return None
    if text in names:
        return names.index(text)
    if text.isdecimal() and 1 <= int(text) <= width:
        return int(text) - 1
    raise UsageError(f"{path} has no column {text!r} ({what}=); it has {', '.join(names) or f'columns 1 to {width}'}")
