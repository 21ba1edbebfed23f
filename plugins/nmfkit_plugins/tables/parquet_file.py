"""Parquet files by row groups: one file, or all of a folder in the order of their names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from nmfkit.errors import NmfkitError, SourceError

SUFFIXES = (".parquet", ".pq")

BAND = 32
"""Columns decoded side by side, for each of which Arrow holds some pages of a MiB or so."""


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn what Arrow stumbles over into a `SourceError` that names the file."""
    try:
        yield
    except (NmfkitError, MemoryError):
        raise
    except Exception as error:
        raise SourceError(f"{path} is no readable Parquet file: {error}") from error


@dataclass(frozen=True)
class Piece:
    """A row group: its file, its number there, and how many rows it has."""

    path: str
    group: int
    rows: int


@dataclass(frozen=True)
class Pieces:
    """The row groups of the table at `path`, in order, and the names of its columns; files are opened when read."""

    path: str
    columns: tuple[str, ...]
    groups: tuple[Piece, ...]

    @classmethod
    def of(cls, path: str) -> Pieces:
        """The table in the file or folder at `path`; raises `SourceError` where files do not fit together."""
        groups: list[Piece] = []
        columns: tuple[str, ...] | None = None
        for name in _files(path):
            with reading(name), opened(name) as file:
                here = tuple(file.schema_arrow.names)
                counts = [file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups)]
            if columns is not None and here != columns:
                raise SourceError(f"{name} has other columns than the files before it: {_difference(columns, here)}")
            columns = here
            groups += [Piece(name, g, rows) for g, rows in enumerate(counts) if rows]
        return cls(path, columns or (), tuple(groups))

    @property
    def schema(self) -> Any:
        """The Arrow schema that holds the columns of every file."""
        schema: Any = None
        for name in _files(self.path):
            with reading(name), opened(name) as file:
                schema = file.schema_arrow if schema is None else _common(name, schema, file.schema_arrow)
        return schema

    @cached_property
    def edges(self) -> tuple[int, ...]:
        """The first row of every group, and the number of rows."""
        return tuple(accumulate((piece.rows for piece in self.groups), initial=0))

    def batches(
        self, columns: Sequence[str], rows: int, lo: int = 0, hi: int | None = None
    ) -> Iterator[tuple[int, Any]]:
        """Rows `lo` … `hi` of `columns`, all rows without them: record batches of up to `rows` rows.

        Before each stands where it begins, counted from `lo`. Columns come in bands, which are few columns each.
        """
        hi = self.edges[-1] if hi is None else hi
        for (start, end), piece in zip(pairwise(self.edges), self.groups, strict=True):
            if start >= hi or end <= lo:
                continue
            with reading(piece.path), opened(piece.path) as file:
                for band in _bands(columns):
                    at = start
                    # Rows before `lo` are decoded and let go: a row group has no smaller parts that can be found.
                    for batch in file.iter_batches(rows, row_groups=[piece.group], columns=band, use_threads=False):
                        a, b = max(lo - at, 0), min(hi - at, batch.num_rows)
                        if a < b:
                            yield at + a - lo, batch.slice(a, b - a)
                        at += batch.num_rows
                        if at >= hi:
                            break

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """The open file; raises `SourceError` where pyarrow is not installed."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise SourceError(f"{path}: Parquet needs the package pyarrow: pip install 'nmfkit[parquet]'") from error
    # No buffer of a whole row group beforehand.
    with parquet.ParquetFile(path, pre_buffer=False) as file:
        yield file


def _bands(columns: Sequence[str]) -> Iterator[list[str]]:
    return (list(columns[j : j + BAND]) for j in range(0, len(columns), BAND))


def index_columns(schema: Any) -> list[str]:
    """The columns that pandas keeps its index in, by the metadata that it writes; a range is none."""
    stored = (schema.metadata or {}).get(b"pandas")
    try:
        index = json.loads(stored)["index_columns"] if stored else []
    except (ValueError, KeyError, TypeError):
        return []
    return [name for name in index if isinstance(name, str) and name in schema.names]


def _files(path: str) -> list[str]:
    if not Path(path).is_dir():
        return [path]
    files = sorted(str(f) for f in Path(path).iterdir() if f.suffix.lower() in SUFFIXES and f.is_file())
    if not files:
        raise SourceError(f"{path} is a folder without files that end in {' or '.join(SUFFIXES)}")
    return files


def _common(path: str, before: Any, here: Any) -> Any:
    """A schema with types that hold the columns of both; raises `SourceError` where there are none."""
    from pyarrow import ArrowException, unify_schemas

    if here.equals(before):
        return before
    try:
        return unify_schemas([before, here], promote_options="permissive")
    except ArrowException as error:
        raise SourceError(f"{path} has columns of another kind than the files before it: {error}") from error


def _difference(before: tuple[str, ...], here: tuple[str, ...]) -> str:
    lost, new = sorted(set(before) - set(here)), sorted(set(here) - set(before))
    parts = [f"it lacks {', '.join(lost[:5])}"] * bool(lost) + [f"it adds {', '.join(new[:5])}"] * bool(new)
    return "; ".join(parts) or "they stand in another order"
