"""Names of rows and features in a zarr group: our own `rows` and `features`, or AnnData's `obs` and `var`."""

from __future__ import annotations

from typing import Any

import zarr

from nmfkit.errors import SourceError
from nmfkit.sources.zarr_store import Place

Names = tuple[str, ...] | None


def row_names(group: Any, m: int) -> Names:
    """The names of `m` rows, None where the group has none."""
    return _names(group, "rows", "obs", m)


def feature_names(group: Any, n: int) -> Names:
    """The names of `n` features, None where the group has none."""
    return _names(group, "features", "var", n)


def _names(group: Any, own: str, frame: str, length: int) -> Names:
    try:
        node = _find(group, own, frame)
        if node is None or node.ndim != 1 or node.shape != (length,):
            return None
        return tuple(_text(v) for v in node[:])
    except Exception as error:
        raise SourceError(f"{Place.of(group)}: the names in {own!r} or {frame!r} cannot be read: {error}") from error


def _find(group: Any, own: str, frame: str) -> Any:
    """The array of names, wherever it lies."""
    if isinstance(node := group.get(own), zarr.Array):
        return node
    table = group.get(frame)
    if not isinstance(table, zarr.Group):
        return None
    index = table.get(str(table.attrs.get("_index", "_index")))
    # AnnData may keep the index with a mask of missing values beside it.
    if isinstance(index, zarr.Group):
        index = index.get("values")
    return index if isinstance(index, zarr.Array) else None


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
