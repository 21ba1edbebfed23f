"""The output of `transform`: a zarr group with the rows of each row factor for new data."""

from __future__ import annotations

import os
from typing import Any

from nmfkit.array_rows import write_rows
from nmfkit.executors.each import Each
from nmfkit.levels import by_name
from nmfkit.protocols import RowStore, Source
from nmfkit.result import Result
from nmfkit.sources.remote import Options
from nmfkit.sources.zarr_store import Place
from nmfkit.store import RunStore
from nmfkit.versions import versions


def write_transformed(
    out: str | os.PathLike[str],
    rows: RowStore,
    source: Source,
    result: Result,
    each: Each,
    *,
    overwrite: bool,
    options: Options | None = None,
) -> Any:
    """Write each factor (m', r) of `rows`, the row names where known, and where all came from.

    Returns the arrays, unread: the only one, or a dict of them by name.
    """
    names = list(by_name(rows.read(0, 1), result.model))
    attributes = {
        "factors": names,
        "transform_of": result.path or "a result in memory",
        "source": {"uri": source.uri, "shape": list(source.shape)},
        "fitted_problem": result.problem.to_dict(),
        "versions": versions(),
    }
    with RunStore.creating(out, attributes, overwrite=overwrite, options=options) as store:
        write_rows(store.group, rows, source.shape[0], each)
        store.write_names(source.row_names, None)
        store.update(status="done")
    group = Place(str(out), options=options).open()
    return alone({name: group[name] for name in names})


def alone(factors: dict[str, Any]) -> Any:
    """The factor itself where there is only one, else all of them by name."""
    return next(iter(factors.values())) if len(factors) == 1 else factors
