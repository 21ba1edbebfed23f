"""Which matrix a zarr store holds: our own stores, AnnData's, plain arrays, CSR groups."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from nmfkit.errors import NmfkitError, SourceError, UsageError
from nmfkit.sources.columns import StoredByColumns
from nmfkit.sources.uri import is_remote
from nmfkit.sources.zarr_csr import ZarrCSR
from nmfkit.sources.zarr_dense import ZarrDense
from nmfkit.sources.zarr_named import ZarrNamed
from nmfkit.sources.zarr_store import Place

if TYPE_CHECKING:
    from nmfkit.protocols import Source

MATRIX = "X"
"""The matrix of a group with other things beside it: AnnData's name, and that of our converted stores."""

LAYERS, RAW = "layers", "raw"
"""Groups in which AnnData keeps further matrices."""


def open_uri(
    uri: str, *, key: str | None = None, dtype: Any = None, storage_options: Mapping[str, Any] | None = None
) -> Source:
    """Open a zarr store by path or URI."""
    place = Place(uri if is_remote(uri) else str(Path(uri).resolve()), options=storage_options)
    return _open(place.open(), place, key, dtype)


def open_node(node: Any, *, key: str | None = None, dtype: Any = None) -> Source:
    """Open a zarr array, or the matrix in a zarr group: the one named `key`, else the only one there is."""
    if not isinstance(node, zarr.Array | zarr.Group):
        raise UsageError(f"a zarr {type(node).__name__} is no matrix; pass an Array or a Group")
    return _open(node, Place.of(node), key, dtype)


def _open(node: Any, place: Place, key: str | None, dtype: Any) -> Source:
    if key is not None and _is_stored(node) and str(place).endswith(tuple(f"/{path}" for path in _paths(key))):
        key = None  # the URI leads there already, as that of a source does which was opened by its key
    try:
        if isinstance(node, zarr.Array):
            if key is not None:
                raise UsageError(f"{place} is a single array, which has no {key!r} inside")
            return ZarrDense.open(node, place, None, dtype)
        return _matrix(_inside(node, place, key), place, dtype)
    except OSError as error:
        raise SourceError(f"{place}: {error}") from error


def _matrix(node: Any, root: Place, dtype: Any) -> Source:
    """The source of the array or group `node`, whose rows and features the group at `root` names."""
    place = root.at(node)
    rows, features = _naming(root, place)
    if _encoding(node) == "csc_matrix":
        turned = ZarrCSR.open(node, place, None, dtype, turned=True)
        raise StoredByColumns(str(place), ZarrNamed(turned, rows, features, turned=True))
    kind: Any = ZarrDense if isinstance(node, zarr.Array) else ZarrCSR
    if rows == features:
        return kind.open(node, place, rows, dtype)  # type: ignore[no-any-return]
    return ZarrNamed(kind.open(node, place, None, dtype), rows, features)


def _naming(root: Place, place: Place) -> tuple[Place | None, Place | None]:
    """The groups that name the rows and the features of the matrix at `place`, as AnnData lays them out."""
    parent = place.path.removeprefix(root.path).strip("/").partition("/")[0]
    if parent == RAW:
        return root, root.child(RAW)
    if parent in ("obsm", "obsp"):
        return root, None
    return (None, None) if parent in ("varm", "varp", "uns") else (root, root)


def _inside(group: zarr.Group, place: Place, key: str | None) -> Any:
    if key is not None:
        return _named(group, place, key)
    if _encoding(group):
        return group
    # Not every store can list what it holds, so the name is tried first.
    if _is_stored(found := group.get(MATRIX)):
        return found
    matrices = {name: node for name, node in _members(group, place).items() if _is_stored(node)}
    if len(matrices) == 1:
        return next(iter(matrices.values()))
    if not matrices:
        raise SourceError(f"{place} holds no matrix: no 2-D array and no CSR group. {_listing(group, place)}")
    choices = ", ".join(f"{name} {_shape(m)}" for name, m in matrices.items())
    raise SourceError(f"{place} holds several matrices; choose one with --key NAME: {choices}")


def _named(group: zarr.Group, place: Place, key: str) -> Any:
    """The member `key`, else the layer of that name, else the `X` inside the group `key`."""
    node = group.get(key)
    if isinstance(node, zarr.Array):
        return node
    for path in _paths(key):
        if _is_stored(found := group.get(path)):
            return found
    what = "is a group that is no CSR matrix" if node is not None else "does not exist"
    raise UsageError(f"{place}: {key!r} {what}. {_listing(group, place)}")


def _paths(key: str) -> tuple[str, ...]:
    """Where the matrix `key` may lie."""
    return (key, f"{LAYERS}/{key}", f"{key}/{MATRIX}")


def _members(group: zarr.Group, place: Place) -> dict[str, Any]:
    try:
        return {name.strip("/"): node for name, node in sorted(group.members())}
    except NmfkitError:
        raise
    except Exception as error:
        raise SourceError(f"{place} cannot be listed; name the matrix with --key NAME: {error}") from error


def _is_stored(node: Any) -> bool:
    """Whether this could be the matrix that was meant: a sparse group, or a 2-D array of numbers."""
    if _encoding(node):
        return True
    return isinstance(node, zarr.Array) and node.ndim == 2 and np.dtype(node.dtype).kind in "biuf"


def _encoding(node: Any) -> str | None:
    """`csr_matrix` or `csc_matrix` for a sparse group in AnnData's layout, else None."""
    encoding = node.attrs.get("encoding-type") if isinstance(node, zarr.Group) else None
    return encoding if encoding in ("csr_matrix", "csc_matrix") else None


def _shape(node: Any) -> str:
    shape = node.shape if isinstance(node, zarr.Array) else node.attrs.get("shape", ())
    return "×".join(str(int(s)) for s in shape)


def _listing(group: zarr.Group, place: Place) -> str:
    try:
        members = _members(group, place)
    except SourceError:
        return "The store does not tell what it holds"
    held: list[str] = []
    for name, node in members.items():
        # AnnData's further matrices lie a level below.
        below = _members(node, place) if name in (LAYERS, RAW) and isinstance(node, zarr.Group) else {}
        inner = [f"{name}/{child} {_shape(n)}" for child, n in below.items() if _is_stored(n)]
        held += inner or [f"{name} {_shape(node)}".strip()]
    return f"It holds: {', '.join(held)}" if held else "It is empty"
