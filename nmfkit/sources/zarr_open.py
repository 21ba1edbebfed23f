"""Which matrix a zarr store holds: our own stores, AnnData's, plain arrays, CSR groups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from nmfkit.errors import SourceError, UsageError
from nmfkit.sources.zarr_csr import ZarrCSR
from nmfkit.sources.zarr_dense import ZarrDense
from nmfkit.sources.zarr_store import Place

if TYPE_CHECKING:
    from nmfkit.protocols import Source

MATRIX = "X"
"""The matrix of a group with other things beside it: AnnData's name, and that of our converted stores."""


class StoredByColumns(SourceError):
    """The matrix is compressed by columns; `group` holds it, at `place`, and `root` the names."""

    def __init__(self, group: zarr.Group, place: Place, root: zarr.Group) -> None:
        self.group, self.place, self.root = group, place, root
        super().__init__(
            f"{place} is compressed by columns (csc_matrix), so it cannot be read by rows; "
            "write a copy in rows with: nmfkit convert SRC DST.zarr"
        )

    def __reduce__(self) -> tuple[type[StoredByColumns], tuple[zarr.Group, Place, zarr.Group]]:
        return (StoredByColumns, (self.group, self.place, self.root))


def open_uri(uri: str, *, key: str | None = None, dtype: Any = None) -> Source:
    """Open a zarr store by path or URI."""
    place = Place(uri if "://" in uri else str(Path(uri).resolve()))
    return _open(place.open(), place, key, dtype)


def open_node(node: Any, *, key: str | None = None, dtype: Any = None) -> Source:
    """Open a zarr array, or the matrix in a zarr group: the one named `key`, else the only one there is."""
    if not isinstance(node, zarr.Array | zarr.Group):
        raise UsageError(f"a zarr {type(node).__name__} is no matrix; pass an Array or a Group")
    return _open(node, Place.of(node), key, dtype)


def _open(node: Any, place: Place, key: str | None, dtype: Any) -> Source:
    if isinstance(node, zarr.Array):
        if key is not None:
            raise UsageError(f"{place} is a single array, which has no {key!r} inside")
        return ZarrDense.open(node, place, None, dtype)
    found = _inside(node, key)
    if isinstance(found, zarr.Group) and _encoding(found) == "csc_matrix":
        raise StoredByColumns(found, place.at(found), node)
    if isinstance(found, zarr.Array):
        return ZarrDense.open(found, place.at(found), place, dtype)
    return ZarrCSR.open(found, place.at(found), place, dtype)


def _inside(group: zarr.Group, key: str | None) -> Any:
    if key is not None:
        return _named(group, key)
    if _encoding(group):
        return group
    matrices = _matrices(group)
    if MATRIX in matrices:
        return matrices[MATRIX]
    if len(matrices) == 1:
        return next(iter(matrices.values()))
    if not matrices:
        raise SourceError(f"{Place.of(group)} holds no matrix: no 2-D array and no CSR group. {_listing(group)}")
    choices = ", ".join(f"{name} {_shape(m)}" for name, m in matrices.items())
    raise SourceError(f"{Place.of(group)} holds several matrices; choose one with --key NAME: {choices}")


def _named(group: zarr.Group, key: str) -> Any:
    node = group.get(key)
    if isinstance(node, zarr.Array) or (node is not None and _encoding(node)):
        return node
    what = "is a group that is no CSR matrix" if node is not None else "does not exist"
    raise UsageError(f"{Place.of(group)}: {key!r} {what}. {_listing(group)}")


def _matrices(group: zarr.Group) -> dict[str, Any]:
    """Everything directly in `group` that could be meant, by name."""
    return {name: node for name, node in sorted(group.members()) if _encoding(node) or _is_matrix(node)}


def _encoding(node: Any) -> str | None:
    """`csr_matrix` or `csc_matrix` for a sparse group in AnnData's layout, else None."""
    encoding = node.attrs.get("encoding-type") if isinstance(node, zarr.Group) else None
    return encoding if encoding in ("csr_matrix", "csc_matrix") else None


def _is_matrix(node: Any) -> bool:
    return isinstance(node, zarr.Array) and node.ndim == 2 and np.dtype(node.dtype).kind in "biuf"


def _shape(node: Any) -> str:
    shape = node.shape if isinstance(node, zarr.Array) else node.attrs.get("shape", ())
    return "×".join(str(int(s)) for s in shape)


def _listing(group: zarr.Group) -> str:
    members = ", ".join(f"{name} {_shape(node)}".strip() for name, node in sorted(group.members()))
    return f"It holds: {members}" if members else "It is empty"
