"""Long tables: one entry a line, as ratings, transactions and exports of databases are kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nmfkit.errors import SourceError, UsageError
from nmfkit.sources import SparseSource
from nmfkit_plugins.files.containers import affordable, no_key
from nmfkit_plugins.files.identifiers import Identifiers
from nmfkit_plugins.files.lines import ENTRY

REPEATS = ("refuse", "sum", "last")

Array = npt.NDArray[Any]


class Entries(NamedTuple):
    """Consecutive entries of a long table; `first` is the number, from 1, that its file gives to the first of them."""

    first: int
    rows: list[str]
    columns: list[str]
    values: Array


class Triple(NamedTuple):
    """What the user calls the columns of rows, columns and values: names, numbers from 1, or None for their place."""

    row: str | None
    column: str | None
    value: str | None


def read(
    path: str,
    *,
    key: str | None = None,
    row: str | None = None,
    column: str | None = None,
    value: str | None = None,
    repeats: str = "refuse",
) -> SparseSource:
    """The sparse matrix of the long table in `path`: Parquet, or text with a line for each entry.

    `row`, `column` and `value` are names of columns or their numbers from 1; without them the first three count, and
    with two columns every entry is 1. `repeats` says what entries of one place do: `refuse`, `sum`, or `last`.
    Raises `SourceError` naming the line of what is no entry.
    """
    no_key(path, key)
    if repeats not in REPEATS:
        raise UsageError(f"repeats={repeats!r} is none of {', '.join(REPEATS)}")
    triple = Triple(row, column, value)
    return _matrix(path, _entries(path, triple), repeats)


def _entries(path: str, triple: Triple) -> Iterable[Entries]:
    if path.lower().endswith((".parquet", ".pq")):
        from nmfkit_plugins.tables.long_parquet import entries as of_parquet

        return of_parquet(path, triple)
    from nmfkit_plugins.tables.long_text import entries as of_text

    return of_text(path, triple)


def _matrix(path: str, table: Iterable[Entries], repeats: str) -> SparseSource:
    from scipy.sparse import coo_array

    rows, columns = Identifiers(), Identifiers()
    parts: list[tuple[Array, Array, Array, Array]] = []
    count = 0
    for part in table:
        lines = np.arange(part.first, part.first + len(part.values))
        count += len(lines)
        affordable(path, count * ENTRY, f"a matrix of its first {count} entries")
        parts.append((rows.numbered(part.rows), columns.numbered(part.columns), part.values, lines))
    if not len(rows):
        raise SourceError(f"{path} holds no entries")
    (row_names, row_places), (column_names, column_places) = rows.arranged(), columns.arranged()
    i, j, values, lines = (np.concatenate([part[k] for part in parts]) for k in range(4))
    i, j = row_places[i], column_places[j]
    shape = len(row_names), len(column_names)
    if repeats != "sum":
        order, again = _repeated(i, j)
        if again.any() and repeats == "refuse":
            raise SourceError(_refusal(path, order, again, lines, (i, j), (row_names, column_names)))
        kept = order[~np.append(again[1:], False)] if len(order) else order
        i, j, values = i[kept], j[kept], values[kept]
    matrix = coo_array((values, (i, j)), shape=shape)
    return SparseSource(matrix, uri=path, row_names=row_names, feature_names=column_names)


def _repeated(i: Array, j: Array) -> tuple[Array, Array]:
    """Entries in the order of their places, the later ones of a place behind the earlier, and which come again."""
    order = np.lexsort((j, i))
    again = np.zeros(len(order), bool)
    again[1:] = (np.diff(i[order]) == 0) & (np.diff(j[order]) == 0)
    return order, again


def _refusal(
    path: str, order: Array, again: Array, lines: Array, at: tuple[Array, Array], names: tuple[tuple[str, ...], ...]
) -> str:
    """What is wrong with a table that names a place twice: the first time that it does."""
    later = int(order[again].min())
    position = int(np.flatnonzero(order == later)[0])
    row, column = (side[int(place[later])] for side, place in zip(names, at, strict=True))
    before = int(lines[order[position - 1]])
    return (
        f"{path}, line {int(lines[later])}: row {row!r}, column {column!r} has a value already, from line {before} "
        f"({int(again.sum())} such entries); write long,repeats=sum:FILE to add them up, or repeats=last to keep "
        "the last of each"
    )
