"""What may be read of an HDF5 file: it can lead to any other file, and damaged types take the process down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nmfkit.errors import SourceError


def inside(file: Any, name: str) -> Any:
    """The node `name` of an open file.

    Raises `SourceError` where it, a part of it or its data lie in another file, or are neither numbers nor texts.
    """
    node = file[name]
    for part in (node, *(node.values() if hasattr(node, "keys") else ())):
        if outside := _outside(file, part):
            raise SourceError(
                f"{file.filename}: {name} leads to another file, {outside}, which is not read; copy it into this one"
            )
        if hasattr(part, "dtype") and not _is_readable(part.dtype):
            raise SourceError(f"{file.filename}: {name} holds {part.dtype}, which are neither numbers nor texts")
    return node


def _outside(file: Any, node: Any) -> str | None:
    """The other file that a node, or its data, lie in."""
    if node is None:  # a link that leads nowhere
        return None
    if Path(node.file.filename) != Path(file.filename):
        return str(node.file.filename)
    if getattr(node, "external", None):
        return str(node.external[0][0])
    if getattr(node, "is_virtual", False):
        return next((s.file_name for s in node.virtual_sources() if s.file_name not in (".", file.filename)), None)
    return None


def attribute(node: Any, *names: str) -> Any:
    """The first attribute of those names that is there, None where there is none, or none of texts or whole numbers.

    The library of HDF5 dies of a damaged attribute of other types, which no exception tells.
    """
    from h5py import h5a, h5t

    for name in names:
        if h5a.exists(node.id, name.encode()):
            kind = h5a.open(node.id, name.encode()).get_type().get_class()
            return node.attrs[name] if kind in (h5t.STRING, h5t.INTEGER) else None
    return None


def _is_readable(dtype: Any) -> bool:
    """Whether entries are numbers or texts, or records of these; lists of any length are as dangerous."""
    from h5py import check_string_dtype

    kinds = [dtype[name] for name in dtype.names] if dtype.names else [dtype]
    return all(kind.kind in "biufSU" or check_string_dtype(kind) is not None for kind in kinds)
