"""Lines of tables: what parts their cells, and the cells, of which those in quotes may hold anything."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence

from nmfkit.errors import Caution, SourceError
from nmfkit_plugins.files.lines import LONGEST

QUOTED = re.compile(r'"[^"]*"')

Line = tuple[int, list[str]]


def delimiter_of(path: str, line: str, known: Sequence[str]) -> str | None:
    """What parts the cells of `line`: a tab, else whatever of `known` comes most often; None for blanks.

    A table may part its cells by semicolons and write decimal commas. Where two come as often, the earlier one of
    `known` counts, which a `Caution` tells.
    """
    plain = QUOTED.sub("", line)
    if "\t" in plain:
        return "\t"
    counts = {delimiter: plain.count(delimiter) for delimiter in known if delimiter in plain}
    if not counts:
        return None
    first, *others = sorted(counts, key=lambda delimiter: -counts[delimiter])
    if others and counts[others[0]] == counts[first]:
        warnings.warn(f"{path}: cells are taken to be parted by {first!r}, not by {others[0]!r}", Caution, stacklevel=2)
    return first


def cells_of(path: str, number: int, line: str, delimiter: str | None) -> list[str]:
    """The cells of a line that is whole; raises `SourceError` naming it where its quotes are wrong."""
    if '"' not in line or delimiter is None or len(delimiter) > 1:
        return line.split(delimiter)
    try:
        return next(_reader([line], delimiter))
    except csv.Error as error:
        raise SourceError(f"{path}, line {number}: the quotes are wrong: {error}") from None


def records(path: str, lines: Iterable[tuple[int, str]], delimiter: str) -> Iterator[Line]:
    """The cells of each record and the number of its last line: a cell in quotes may go over several lines.

    Raises `SourceError` naming the line where quotes are wrong, for then nobody can tell where a record ends.
    """
    last = 0

    def fed() -> Iterator[str]:
        nonlocal last
        for number, text in lines:
            last = number
            yield text.replace("\r", " ") + "\n"

    reader = _reader(fed(), delimiter)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise SourceError(f"{path}, line {last}: the quotes are wrong: {error}") from None
        yield last, cells or [""]


def _reader(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    # The module's own bound, for the whole process, is less than many a text has.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST))
    return csv.reader(lines, delimiter=delimiter, strict=True)
