"""Labels of samples, from a file that somebody else wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import SourceError, UsageError
from nmfkit.report.html import clean, shortened

MOST = 30
"""Labels that are told apart; the rarest beyond them share one."""
UNLABELLED = "(no label)"
OTHERS = "(all others)"
TABLES = {".csv": ",", ".tsv": "\t"}
ARRAYS = (".npy", ".npz")


@dataclass(frozen=True)
class Labels:
    """A label for each row: `names[codes[i]]` is that of row i, the most frequent first; `notes` say what was odd."""

    codes: Array = field(repr=False)
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def told_apart(labels: Labels, table: Array) -> Array:
    """The rows of `table` (labels, r) whose samples do have a label, and one that is not pooled with others."""
    return table[[name not in (UNLABELLED, OTHERS) for name in labels.names]]


def read_labels(text: str, count: int, row_names: Sequence[str] | None) -> Labels:
    """The labels of `count` rows in `FILE` or `FILE:COLUMN`.

    A text file holds one a line, a table (`.csv`, `.tsv`) a column, with the rows in order or named as the rows of the
    run; a `.npy` or `.npz` a vector. Raises `SourceError` for what cannot be read, `UsageError` for what does not fit.
    """
    path, column = _split(text)
    kind = path.suffix.lower()
    notes: list[str] = []
    if kind in ARRAYS:
        values = _from_array(path, column, count)
    elif kind in TABLES:
        values = _from_table(path, column, count, row_names, notes)
    else:
        if column is not None:
            raise UsageError(f"{path} holds one label a line, so there is no column {column!r} to choose")
        values = _text(path).splitlines()
        if len(values) == count + 1:
            notes.append(f"the first line of {path.name}, {values[0]!r}, is taken for a heading")
            values = values[1:]
    if len(values) != count:
        raise UsageError(f"{path} holds {len(values):,} labels and the run has {count:,} rows; each row needs one")
    return labelled(values, notes)


def labelled(values: Sequence[str], notes: Sequence[str] = ()) -> Labels:
    """The labels of texts; blank ones are told apart, and those beyond `MOST` are pooled."""
    texts = [clean(v).strip() or UNLABELLED for v in values]
    said, counts = list(notes), Counter(texts)
    if blank := counts.get(UNLABELLED, 0):
        said.append(f"{blank:,} of {len(texts):,} samples have no label")
    if len(counts) == len(texts) > 1:
        said.append("every sample has a label of its own, so labels tell nothing about groups")
    if len(counts) == 1:
        said.append("all samples have the same label, so labels tell nothing about groups")
    names = [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    if len(names) > MOST:
        said.append(f"of {len(names):,} labels the {MOST - 1} most frequent are told apart, the others share one")
        names = [*names[: MOST - 1], OTHERS]
    code = {name: i for i, name in enumerate(names)}
    return Labels(np.array([code.get(t, len(names) - 1) for t in texts], np.int64), tuple(names), tuple(said))


def _split(text: str) -> tuple[Path, str | None]:
    path = Path(text).expanduser()
    if not path.exists() and ":" in text:
        before, _, column = text.rpartition(":")
        if Path(before).expanduser().exists():
            path = Path(before).expanduser()
            return _file(path), column
    return _file(path), None


def _file(path: Path) -> Path:
    if not path.is_file():
        raise SourceError(f"labels {path} {'is no file' if path.exists() else 'does not exist'}")
    return path


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"labels {path} cannot be read as text in UTF-8: {error}") from error


# --- arrays -------------------------------------------------------------------------------------------------


def _from_array(path: Path, column: str | None, count: int) -> list[str]:
    try:
        # NumPy leaves a damaged archive open that it has opened itself.
        with path.open("rb") as file:
            loaded: Any = np.load(file, allow_pickle=False)
            values = loaded if path.suffix.lower() == ".npy" else _member(path, loaded, column, count)
    except Exception as error:  # a damaged file fails in ways of its own, of zip, zlib and NumPy
        raise SourceError(f"labels {path} cannot be read: {error or type(error).__name__}") from error
    if values.ndim != 1:
        raise UsageError(f"{path} holds an array of shape {values.shape}; labels are a vector")
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values.tolist()]


def _member(path: Path, loaded: Any, name: str | None, count: int) -> Any:
    names = list(loaded.files)
    if name is not None:
        if name not in names:
            raise ValueError(f"it holds no {name!r}, but {', '.join(names)}")
        return loaded[name]
    fitting = [n for n in names if loaded[n].shape == (count,)]
    chosen = "labels" if "labels" in names else fitting[0] if len(fitting) == 1 else None
    if chosen is None:
        raise ValueError(f"choose a member, as {path.name}:{(fitting or names or ['NAME'])[0]}")
    return loaded[chosen]


# --- tables -------------------------------------------------------------------------------------------------


def _from_table(
    path: Path, column: str | None, count: int, row_names: Sequence[str] | None, notes: list[str]
) -> list[str]:
    rows = _cells(path)
    width = len(rows[0])
    headed = column is not None or len(rows) == count + 1
    head, body = (rows[0], rows[1:]) if headed else ([f"column {i + 1}" for i in range(width)], rows)
    key = _key(body, row_names) if width > 1 else None
    at = _column(path, head, column, key)
    if key is None:
        if len(body) == count:
            return [line[at] for line in body]
        named = f"; nor does a column name all {count:,} rows of the run" if row_names is not None and width > 1 else ""
        raise UsageError(f"{path} holds {len(body):,} labels and the run has {count:,} rows; each row needs one{named}")
    names = [line[key] for line in body]
    if repeated := [n for n, times in Counter(names).items() if times > 1]:
        raise UsageError(f"{path}: {_some(repeated)} stand in several lines, so it is not clear which label is theirs")
    label = dict(zip(names, (line[at] for line in body), strict=True))
    notes.append(f"labels are matched to rows by name, by the column {head[key]!r} of {path.name}")
    return [label[name] for name in row_names or ()]


def _cells(path: Path) -> list[list[str]]:
    import csv

    try:
        found = csv.reader(_text(path).splitlines(), delimiter=TABLES[path.suffix.lower()], strict=True)
        rows = [[cell.strip() for cell in line] for line in found if line]
    except csv.Error as error:
        raise SourceError(f"labels {path} are no readable table: {error}") from error
    if not rows:
        raise SourceError(f"labels {path} is empty")
    for number, line in enumerate(rows, 1):
        if len(line) != len(rows[0]):
            raise SourceError(f"labels {path}: line {number} has {len(line)} cells, the first one {len(rows[0])}")
    return rows


def _key(body: list[list[str]], row_names: Sequence[str] | None) -> int | None:
    """The column that names every row of the run, if there is one."""
    if row_names is None or len(body) < len(row_names):
        return None
    wanted = set(row_names)
    return next((i for i in range(len(body[0])) if wanted <= {line[i] for line in body}), None)


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
    shown = ", ".join(repr(shortened(n, 40)) for n in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
