"""Long tables in Parquet, a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nmfkit.errors import SourceError, UsageError
from nmfkit_plugins.tables.long import Entries, Triple
from nmfkit_plugins.tables.parquet_file import Pieces, index_columns, reading

PART = 2**16
"""Rows decoded together."""


def entries(path: str, triple: Triple) -> Iterator[Entries]:
    """The entries of the Parquet table in `path`, numbered as its rows, from 1."""
    pieces = Pieces.of(path)
    names = _columns(path, triple, pieces)
    first = 1
    for _, batch in pieces.batches(names, PART):
        row, column, *value = (batch.column(name) for name in names)
        with reading(path):
            values = _values(path, names, value, first) if value else np.ones(batch.num_rows)
            yield Entries(first, _texts(path, names[0], row, first), _texts(path, names[1], column, first), values)
        first += batch.num_rows


def _columns(path: str, triple: Triple, pieces: Pieces) -> list[str]:
    """The names of the columns of rows, columns and values; without values where there are but two."""
    columns = _in_order(pieces)
    chosen: list[str] = []
    for i, (what, text) in enumerate(triple._asdict().items()):
        if text in pieces.columns:
            chosen.append(str(text))
        elif text is None:
            chosen += columns[i : i + 1]
        elif text.isdecimal() and 1 <= int(text) <= len(columns):
            chosen.append(columns[int(text) - 1])
        else:
            raise UsageError(f"{path} has no column {text!r} ({what}=); it has {', '.join(columns)}")
    if len(chosen) < 2 or len(set(chosen)) < len(chosen):
        raise UsageError(
            f"{path}: row, column and value are {', '.join(chosen) or 'nowhere'}; name three different columns with "
            f"row=, column= and value=; there are {', '.join(columns)}"
        )
    return chosen


def _in_order(pieces: Pieces) -> list[str]:
    """The columns as pandas shows them: an index of several columns or of a name of its own first."""
    with reading(pieces.path):
        index = index_columns(pieces.schema)
    rest = [name for name in pieces.columns if name not in index]
    return rest if len(index) == 1 and index[0].startswith("__index_level_") else index + rest


def _texts(path: str, name: str, column: Any, first: int) -> list[str]:
    """The identifiers in a column, whole numbers as such."""
    values = column.to_pylist()
    if column.null_count:
        at = next(i for i, value in enumerate(values) if value is None)
        raise SourceError(f"{path}, row {first + at}: {name!r} is missing")
    return [_text(path, name, value, first + i) for i, value in enumerate(values)]


def _text(path: str, name: str, value: Any, row: int) -> str:
    if isinstance(value, float):
        if value != value:
            raise SourceError(f"{path}, row {row}: {name!r} is missing")
        return str(int(value)) if value.is_integer() else str(value)
    return value.decode() if isinstance(value, bytes) else str(value)


def _values(path: str, names: list[str], value: list[Any], first: int) -> Any:
    from pyarrow import types

    (column,) = value
    try:
        if types.is_temporal(column.type):
            raise TypeError(column.type)  # NumPy takes dates for numbers
        return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
    except (ValueError, TypeError):
        raise SourceError(
            f"{path}: the values in {names[2]!r} are {column.type} (rows from {first} on), which are no numbers"
        ) from None
