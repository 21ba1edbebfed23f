"""Labels of rows, in a file that somebody else wrote: lines of text, tables, arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nmfkit.clustering.named import by_name, named_lines, table_column
from nmfkit.errors import NmfkitError, SourceError, UsageError

TABLES = {".csv": ",", ".tsv": "\t"}
ARRAYS = (".npy", ".npz")
MATLAB = ".mat"


@dataclass(frozen=True)
class Known:
    """A label for each row as a text, empty where it has none; `notes` say how the file was read."""

    values: list[str] = field(repr=False)
    notes: tuple[str, ...] = ()


def known_labels(text: str, count: int, row_names: Sequence[str] | None) -> Known:
    """The labels of `count` rows in `FILE` or `FILE:COLUMN`.

    A text file holds one a line, or the name of a row and its label, with blanks between them; a table (`.csv`,
    `.tsv`) a column, with the rows in order or named as the rows of the run; a `.npy`, `.npz` or `.mat` a vector. Rows
    that a file with names leaves out have no label. Raises `SourceError` for what cannot be read, `UsageError` for what
    does not fit.
    """
    path, column = _split(text)
    kind = path.suffix.lower()
    notes: list[str] = []
    if kind in ARRAYS:
        values = _from_array(path, column, count)
    elif kind == MATLAB:
        values = _from_matlab(path, column)
    elif kind in TABLES:
        values = table_column(path, _text(path), TABLES[kind], column, count, row_names, notes)
    else:
        values = _from_lines(path, column, count, row_names, notes)
    if len(values) != count:
        raise UsageError(f"{path} holds {len(values):,} labels and the run has {count:,} rows; each row needs one")
    return Known(values, tuple(notes))


def texts(values: Any) -> list[str]:
    """The entries of a vector as texts, whole numbers without a point; empty for None, NaN and what is masked."""
    array = np.asarray(values)
    if array.ndim == 2 and 1 in array.shape:
        array = array.ravel()
    if array.ndim != 1:
        raise UsageError(f"labels are a vector, and there is an array of shape {array.shape}")
    hidden = np.broadcast_to(np.ma.getmaskarray(values).ravel() if np.ma.isMaskedArray(values) else False, array.shape)
    return ["" if h else _text_of(v) for v, h in zip(array.tolist(), hidden, strict=True)]


def _text_of(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


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


def _from_lines(
    path: Path, column: str | None, count: int, row_names: Sequence[str] | None, notes: list[str]
) -> list[str]:
    if column is not None:
        raise UsageError(f"{path} holds one label a line, so there is no column {column!r} to choose")
    lines = _text(path).splitlines()
    if pairs := named_lines(lines):
        return by_name(path, pairs, row_names, notes, "the first word of each line")
    if len(lines) == count + 1:
        notes.append(f"the first line of {path.name}, {lines[0]!r}, is taken for a heading")
        return lines[1:]
    return lines


def _from_array(path: Path, column: str | None, count: int) -> list[str]:
    try:
        # NumPy leaves a damaged archive open that it has opened itself.
        with path.open("rb") as file:
            loaded: Any = np.load(file, allow_pickle=False)
            values = loaded if path.suffix.lower() == ".npy" else _member(path, loaded, column, count)
    except Exception as error:  # a damaged file fails in ways of its own, of zip, zlib and NumPy
        raise SourceError(f"labels {path} cannot be read: {error or type(error).__name__}") from error
    return _vector(path, values)


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


def _from_matlab(path: Path, name: str | None) -> list[str]:
    """The variable `name`, or the one called `labels`, of one row or one column."""
    from nmfkit.sources import open_source

    try:
        source = open_source(path, key=name or "labels")
        values = source.read(0, source.shape[0]).dense()
    except NmfkitError as error:
        raise SourceError(f"labels {path} cannot be read: {error}; choose a variable, as {path.name}:NAME") from error
    return _vector(path, values)


def _vector(path: Path, values: Any) -> list[str]:
    if values.ndim != 1 and not (values.ndim == 2 and 1 in values.shape):
        raise UsageError(f"{path} holds an array of shape {values.shape}; labels are a vector")
    return texts(values)
