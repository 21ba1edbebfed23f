"""Readers of tables: Parquet, and long tables of one entry a line."""

from __future__ import annotations

from nmfkit.hookspecs import ReaderSpec, hookimpl


@hookimpl
def nmfkit_readers() -> list[ReaderSpec]:
    """Every reader of this package."""
    here = "nmfkit_plugins.tables"
    return [
        ReaderSpec(
            "parquet",
            "Parquet table, a column for each feature",
            f"{here}.parquet:read",
            suffixes=(".parquet", ".pq"),
        ),
        ReaderSpec("long", "table of one entry a line: row, column, value", f"{here}.long:read"),
    ]
