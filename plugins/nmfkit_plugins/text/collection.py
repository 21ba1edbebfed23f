"""Where documents come from: the files of a folder, or the lines of a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from nmfkit.errors import SourceError, UsageError
from nmfkit_plugins.files.containers import affordable
from nmfkit_plugins.files.delimited import Line, records
from nmfkit_plugins.files.lines import decoded, text_lines
from nmfkit_plugins.files.paths import unreadable

TABLES = {".tsv": "\t", ".csv": ","}
"""Files whose lines have several cells, one of which is the document."""


def files(folder: Path, suffix: str | None = None) -> list[Path]:
    """Every file below `folder`, or those that end in `suffix`, in the order of their paths, without hidden ones.

    Raises `SourceError` where a link leads out of the folder, or there are none.
    """
    root, found = folder.resolve(), []
    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in [*folders, *names]:
            path = Path(place) / name
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise SourceError(f"{path} is a link that leads out of {folder}, so it is not read; copy the file")
        found += [Path(place) / name for name in names if not name.startswith(".") and name.endswith(suffix or "")]
    if odd := next((path for path in found if not path.is_file()), None):
        raise SourceError(f"{odd} is no file that can be read")
    if not found:
        raise SourceError(f"{folder} holds no files{f' that end in {suffix}' if suffix else ''}")
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def of_files(paths: list[Path], encoding: str) -> Iterator[str]:
    """The text of each file; raises `SourceError` naming the file and byte that is none."""
    held = 0
    for path in paths:
        try:
            held += path.stat().st_size
            affordable(str(path), held, "what it and the texts before it hold")
            raw = path.read_bytes()
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error}") from error
        yield decoded(raw, encoding, str(path))


def of_lines(path: str, column: str | None, encoding: str) -> Iterator[str]:
    """The lines of the file, or their cells in `column`: a number from 1, or a name in the first line."""
    lines = text_lines(path, encoding)
    suffix = next((s for s in Path(path.lower().removesuffix(".gz")).suffixes[-1:] if s in TABLES), None)
    if suffix is None and column is None:
        yield from (text for _, text in lines)
        return
    at, width = None, 0
    for line, cells in _records(path, lines, TABLES.get(suffix or "", "\t")):
        if at is None:
            width = len(cells)
            at, named = _column(path, column, cells)
            if named:
                continue
        if at >= len(cells):
            raise SourceError(f"{path}, line {line}: {len(cells)} cells where the first line has {width}")
        yield cells[at]


def _records(path: str, lines: Iterator[tuple[int, str]], delimiter: str) -> Iterator[Line]:
    """Line numbers and cells; quotes mean something in tables that are parted by commas, where texts need them."""
    if delimiter == ",":
        return records(path, lines, delimiter)
    return ((line, text.split(delimiter)) for line, text in lines)


def _column(path: str, column: str | None, first: list[str]) -> tuple[int, bool]:
    """The place of the documents among the cells, from 0, and whether the first line names the columns."""
    if column is None:
        if len(first) > 1:
            raise UsageError(
                f"{path} has {len(first)} columns; name that of the documents, by its number or by its name in the "
                "first line: documents,column=1:FILE"
            )
        return 0, False
    if column in first:
        return first.index(column), True
    if column.isdecimal() and 1 <= int(column) <= len(first):
        return int(column) - 1, False
    raise UsageError(f"{path} has no column {column!r}; its first line has {len(first)}: {', '.join(first)[:200]}")
