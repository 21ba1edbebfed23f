"""`.parquet`: wide tables, a row for each sample and a column of numbers for each feature, read by row groups."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from nmfkit.blocks import Dense
from nmfkit.errors import Caution, SourceError, UsageError
from nmfkit.sources import tiles
from nmfkit.sources.checks import block_dtype, in_range, matrix_shape
from nmfkit.sources.names import WINDOW, StoredNames
from nmfkit.sources.zarr_store import Place
from nmfkit_plugins.files.containers import no_key
from nmfkit_plugins.tables.parquet_file import BAND, Pieces, index_columns, reading

NARROW, LENGTH = 4, 1000
"""Few columns beside many rows look like a long table."""

BATCH_BYTES = 2**22
"""Bytes decoded together, beside the result."""


def read(path: str, *, key: str | None = None, names: str | None = None, drop: tuple[str, ...] = ()) -> ParquetTable:
    """The table in `path`, which stays there; `names` is the column that names its rows, `drop` those to leave out.

    Without `names`, the index of pandas or the only column of text names the rows. Raises `SourceError` that lists
    the columns which are no numbers.
    """
    no_key(path, key)
    pieces = Pieces.of(path)
    features, dtype, named = _layout(path, pieces, names, drop)
    shape = matrix_shape((pieces.edges[-1], len(features)), path)
    if len(features) <= NARROW and shape[0] >= LENGTH:
        warnings.warn(
            f"{path} is read as {shape[0]} samples of {', '.join(features)}; if each row is one entry of the "
            f"matrix, write long:{path}",
            Caution,
            stacklevel=2,
        )
    return ParquetTable(path, shape, block_dtype(dtype, None, path), pieces, features, named)


def _layout(
    path: str, pieces: Pieces, names: str | None, drop: tuple[str, ...]
) -> tuple[tuple[str, ...], np.dtype[Any], str | None]:
    """The columns of numbers, a type that holds them all, and the column that names the rows."""
    with reading(path):
        schema = pieces.schema
        kinds = {field.name: _numbers(field.type) for field in schema}
        texts = [field.name for field in schema if _is_text(field.type) and field.name not in drop]
        index = index_columns(schema)
    if len(kinds) < len(pieces.columns):
        raise SourceError(f"{path} has several columns of one name, so that a name does not tell which is meant")
    if unknown := [name for name in (*drop, *filter(None, [names])) if name not in kinds]:
        raise UsageError(f"{path} has no column {', '.join(map(repr, unknown))}; it has {_some(list(kinds))}")
    named = names or _naming(path, index, texts)
    left = {name: kind for name, kind in kinds.items() if name not in (*drop, *index, named)}
    if faults := [f"{name} ({schema.field(name).type})" for name, kind in left.items() if kind is None]:
        raise SourceError(
            f"{path} has columns that are no numbers: {_some(faults)}; leave them out with "
            "parquet,drop=NAME+NAME:FILE, or name the one that names the rows with parquet,names=NAME:FILE"
        )
    dtype = np.result_type(*{kind for kind in left.values() if kind is not None}) if left else np.dtype(np.float64)
    return tuple(left), dtype, named


@dataclass(frozen=True)
class ParquetTable:
    """The columns `features` of a Parquet table (m, n); `names` is the column that names the rows."""

    uri: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    pieces: Pieces
    features: tuple[str, ...]
    names: str | None = None

    is_sparse = False
    resident = False
    nnz = None

    @property
    def feature_names(self) -> Sequence[str]:
        """The names of the columns (n,)."""
        return self.features

    @cached_property
    def row_names(self) -> StoredNames | None:
        """The texts in the column that names the rows (m,), read as they are asked for."""
        return None if self.names is None else ParquetNames(Place(self.uri, self.names), self.shape[0], self.pieces)

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Row ranges of about `target_bytes`: several row groups, or parts of one that is four times as large."""
        row = self.shape[1] * self.dtype.itemsize
        edges = [0]
        for lo, hi in pairwise(self.pieces.edges):
            if (hi - edges[-1]) * row > target_bytes:
                edges.append(lo)
            if (hi - lo) * row > 4 * target_bytes:
                edges += [
                    lo + a for a, _ in tiles.by_bytes((hi - lo, self.shape[1]), self.dtype.itemsize, target_bytes)
                ]
        return list(pairwise(sorted({*edges, self.shape[0]})))

    def read(self, lo: int, hi: int) -> Dense:
        """Rows `lo` … `hi`; a missing number is NaN."""
        values = np.empty((hi - lo, self.shape[1]), self.dtype)
        places = {name: j for j, name in enumerate(self.features)}
        rows = max(1, BATCH_BYTES // (min(BAND, self.shape[1]) * self.dtype.itemsize))
        filled = 0
        for at, batch in self.pieces.batches(self.features, rows, lo, hi):
            for name in batch.schema.names:
                # With a name such as a.b, Arrow may send the column a along.
                if (j := places.get(name)) is not None:
                    self._fill(values[at : at + batch.num_rows, j], batch.column(name))
                    filled += batch.num_rows
        if filled < values.size:
            raise SourceError(f"{self.uri}: rows {lo} … {hi - 1} are not all there; the file has changed")
        return Dense(values, lo)

    def _fill(self, target: np.ndarray[Any, np.dtype[Any]], column: Any) -> None:
        with reading(self.uri):
            numbers = column.to_numpy(zero_copy_only=False)
        if numbers.dtype == object:  # truth values, some of which are missing
            numbers = numbers.astype(np.float64)
        with in_range(numbers, self.dtype, self.uri):
            target[...] = numbers

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, eq=False)
class ParquetNames(StoredNames):
    """The names in the column `place.path` of a Parquet table."""

    pieces: Pieces

    @cached_property
    def _array(self) -> Any:
        return Column(self.pieces, self.place.path)


@dataclass(frozen=True)
class Column:
    """One column, as an array of texts."""

    pieces: Pieces
    name: str

    chunks = (WINDOW,)

    def __getitem__(self, at: slice) -> list[str]:
        batches = self.pieces.batches([self.name], WINDOW, at.start, at.stop)
        return [str(value) for _, batch in batches for value in batch.column(0).to_pylist()]


def _naming(path: str, index: list[str], texts: list[str]) -> str | None:
    """The column that names the rows: pandas' index, else the only one of text."""
    if len(index) > 1:
        raise SourceError(
            f"{path} has an index of several columns, {', '.join(index)}; parquet,names=NAME:FILE names one"
        )
    if index:
        return index[0]
    return texts[0] if len(texts) == 1 else None


def _numbers(kind: Any) -> np.dtype[Any] | None:
    """NumPy's type of the numbers in a column, None where it holds others; with missing ones they are floats."""
    from pyarrow import types

    if types.is_boolean(kind):
        return np.dtype(np.uint8)
    if types.is_integer(kind) or types.is_floating(kind):
        stored: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
        return stored
    return None


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
