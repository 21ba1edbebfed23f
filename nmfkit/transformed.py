"""The output of `transform`: a zarr group with the rows of W for new data."""

from __future__ import annotations

import os
from typing import Any

from nmfkit.array_rows import write_rows
from nmfkit.executors.each import Each
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
    """Write `w` (m', rank), the row names where known, and where both came from; returns the array, unread."""
    attributes = {
        "transform_of": result.path or "a result in memory",
        "source": {"uri": source.uri, "shape": list(source.shape)},
        "fitted_problem": result.problem.to_dict(),
        "versions": versions(),
    }
    with RunStore.creating(out, attributes, overwrite=overwrite, options=options) as store:
        write_rows(store.group, rows, source.shape[0], each)
        store.write_names(source.row_names, None)
        store.update(status="done")
    return Place(str(out), options=options).open()[result.model.row_factors[0]]
