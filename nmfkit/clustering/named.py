"""Labels that a file has beside the names of the rows they belong to."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from nmfkit.errors import SourceError, UsageError

Pair = tuple[str, str]


def named_lines(lines: Sequence[str]) -> list[Pair]:
    """The name and the label in each line, parted by blanks; nothing where the lines are labels.

    They are where each has two words and no two begin alike: as labels, all of them would be different.
    """
    pairs = [line.split() for line in lines if line.strip()]
    if len(pairs) < 2 or any(len(pair) != 2 for pair in pairs) or len({pair[0] for pair in pairs}) < len(pairs):
        return []
    return [(name, label) for name, label in pairs]


def by_name(
    path: Path, pairs: Iterable[Pair], row_names: Sequence[str] | None, notes: list[str], where: str
) -> list[str]:
    """The label of each row by its name, empty where the file has none; `where` says where names stand in it."""
    pairs = list(pairs)
    if row_names is None:
        raise UsageError(
            f"{path} names its rows ({where}), and the rows of the run have no names; give one label a line"
        )
    names = [name for name, _ in pairs]
    if repeated := [n for n, times in Counter(names).items() if times > 1]:
        raise UsageError(f"{path}: {_some(repeated)} stand in several lines, so it is not clear which label is theirs")
    label, rows, own = dict(pairs), list(row_names), set(row_names)
    strange, lacking = [n for n in names if n not in own], [n for n in rows if n not in label]
    if len(strange) == len(names):
        raise UsageError(f"{path}: none of its names is one of the run; it has {_some(names)}, the run {_some(rows)}")
    notes.append(f"labels are matched to rows by name, by {where} of {path.name}")
    if strange:
        notes.append(f"{len(strange):,} names of {path.name} are none of the run, as {_some(strange)}")
    if lacking:
        notes.append(f"{len(lacking):,} of {len(rows):,} rows are not in {path.name}, as {_some(lacking)}")
    return [label.get(name, "") for name in rows]


def table_column(
    path: Path, text: str, delimiter: str, column: str | None, count: int, row_names: Sequence[str] | None,
    notes: list[str],
) -> list[str]:  # fmt: skip
    """The labels in a table: the column that is named, or the only one beside that with the names of the rows."""
    rows = _cells(path, text, delimiter)
    width = len(rows[0])
    key = _key(rows, row_names) if width > 1 else None
    begins = len(rows) != count + 1 if key is None else rows[0][key] in set(row_names or ())
    headed = column is not None or not begins
    head, body = (rows[0], rows[1:]) if headed else ([f"column {i + 1}" for i in range(width)], rows)
    at = _column(path, head, column, key)
    if key is not None:
        return by_name(path, ((line[key], line[at]) for line in body), row_names, notes, f"the column {head[key]!r}")
    if len(body) == count:
        return [line[at] for line in body]
    named = "; nor does a column name the rows of the run" if row_names is not None and width > 1 else ""
    raise UsageError(f"{path} holds {len(body):,} labels and the run has {count:,} rows; each row needs one{named}")


def _cells(path: Path, text: str, delimiter: str) -> list[list[str]]:
    try:
        found = csv.reader(text.splitlines(), delimiter=delimiter, strict=True)
        rows = [[cell.strip() for cell in line] for line in found if line]
    except csv.Error as error:
        raise SourceError(f"labels {path} are no readable table: {error}") from error
    if not rows:
        raise SourceError(f"labels {path} is empty")
    for number, line in enumerate(rows, 1):
        if len(line) != len(rows[0]):
            raise SourceError(f"labels {path}: line {number} has {len(line)} cells, the first one {len(rows[0])}")
    return rows


def _key(rows: list[list[str]], row_names: Sequence[str] | None) -> int | None:
    """The column that names all rows of the run, or else each line with a name of its own, half of them known."""
    if row_names is None:
        return None
    wanted = set(row_names)
    columns = [[line[i] for line in rows] for i in range(len(rows[0]))]
    if (whole := next((i for i, cells in enumerate(columns) if wanted <= set(cells)), None)) is not None:
        return whole
    own = (i for i, cells in enumerate(columns) if len(set(cells)) == len(cells))
    return next((i for i in own if 2 * len(wanted & set(columns[i])) >= min(len(wanted), len(rows) - 1)), None)


def _column(path: Path, head: list[str], column: str | None, key: int | None) -> int:
    if column is not None:
        if column not in head:
            raise UsageError(f"{path} has no column {column!r}; it has {', '.join(head[:20])}")
        return head.index(column)
    free = [i for i in range(len(head)) if i != key]
    # A first column without a heading names the rows.
    free = free[1:] if key is None and len(free) > 1 and not head[0] else free
    if len(free) != 1:
        raise UsageError(f"{path} has several columns; choose one, as {path.name}:{head[free[-1]] or 'COLUMN'}")
    return free[0]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(n if len(n) <= 40 else f"{n[:39]}…") for n in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3:,} more"
