"""Parquet files, a column a component: what data frames and databases read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import UsageError
from nmfkit.export.contents import BLOCK, LABELS, MEMBERSHIPS, Contents, columns_of


def write(contents: Contents, folder: Path) -> None:
    """`w.parquet` (a line a row of X) and `h.parquet` (a line a column: H turned round), each with a first column
    of names; `history.parquet`; `labels.parquet` of a model that groups the rows. Raises `UsageError` without pyarrow.
    """
    arrow, parquet = _libraries()
    for name, (width, dtype) in contents.row_factors.items():
        schema = _schema(arrow, "row", contents.row_labels, contents.column_names(name, width), dtype)
        with parquet.ParquetWriter(folder / f"{name}.parquet", schema) as file:
            for lo, block in contents.blocks(name):
                file.write_table(_table(arrow, schema, contents.row_labels[lo : lo + len(block)], block))
    if contents.is_grouping:
        _write_groups(arrow, parquet, contents, folder / f"{LABELS}.parquet")
    for name, factor in contents.shared.items():
        turned = contents.of_features(name)
        table = factor.T if turned else columns_of(factor)
        labels = contents.column_labels if turned else contents.line_names(name, len(table))
        names = contents.line_names if turned else contents.column_names
        header = names(name, table.shape[1])
        schema = _schema(arrow, "feature" if turned else "component", labels, header, table.dtype)
        step = max(1, BLOCK // max(1, table.shape[1] * table.dtype.itemsize))
        with parquet.ParquetWriter(folder / f"{name}.parquet", schema) as file:
            for lo in range(0, len(table), step):
                file.write_table(_table(arrow, schema, labels[lo : lo + step], table[lo : lo + step]))
    history = contents.result.history
    columns = {name: history[name] for name in ("sweep", "objective", "seconds")}
    parquet.write_table(arrow.table(columns), folder / "history.parquet")


def _write_groups(arrow: Any, parquet: Any, contents: Contents, path: Path) -> None:
    """The label of each row, and its part in that group."""
    names, lo = contents.row_labels, 0
    _, dtype = contents.row_factors[MEMBERSHIPS]
    kinds = [("label", arrow.int64()), ("membership", arrow.from_numpy_dtype(dtype))]
    schema = arrow.schema([*_schema(arrow, "row", names, [], dtype), *kinds])
    with parquet.ParquetWriter(path, schema) as file:
        for label, part in contents.groups():
            some = arrow.array(list(names[lo : lo + len(label)]), schema.types[0])
            file.write_table(arrow.Table.from_arrays([some, arrow.array(label), arrow.array(part)], schema=schema))
            lo += len(label)


def _schema(arrow: Any, label: str, labels: Sequence[Any], names: list[str], dtype: Any) -> Any:
    kind = arrow.int64() if isinstance(labels, range) else arrow.string()
    return arrow.schema([(label, kind), *((name, arrow.from_numpy_dtype(dtype)) for name in names)])


def _table(arrow: Any, schema: Any, labels: Sequence[Any], block: Array) -> Any:
    columns = [np.ascontiguousarray(column) for column in block.T]
    return arrow.Table.from_arrays([arrow.array(list(labels), schema.types[0]), *columns], schema=schema)


def _libraries() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            f'format parquet needs pyarrow, which is not installed ({error}): pip install "nmfkit[parquet]"'
        ) from error
    return pyarrow, pyarrow.parquet
