"""Names of rows and features in HDF5 files, read when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nmfkit.sources.names import WINDOW, StoredNames, coded
from nmfkit.sources.zarr_store import Place
from nmfkit_plugins.files.hdf5_inside import attribute
from nmfkit_plugins.files.hdf5_read import opened


@dataclass(frozen=True, eq=False)
class HDF5Names(StoredNames):
    """The names at `place`, whose `uri` is a file and whose `path` leads to a column inside."""

    @cached_property
    def _array(self) -> Any:
        return Column(self.place.uri, self.place.path)


Names = HDF5Names | None


@dataclass(frozen=True)
class Column:
    """The texts at `name` in the file at `path`, which is opened for each slice."""

    path: str
    name: str

    chunks = (WINDOW,)

    def __len__(self) -> int:
        with opened(self.path) as file:
            node = file[self.name]
            return len(node["codes"] if _is_categorical(node) else node)

    def __getitem__(self, at: slice) -> Any:
        with opened(self.path) as file:
            node = file[self.name]
            if _is_categorical(node):
                return coded(node["categories"][:], node["codes"][at])
            # Old AnnData files keep a table as records.
            return node[at][_index_field(node)] if node.dtype.names else node[at]


def named(path: str, name: str | None, length: int) -> Names:
    """The `length` names at `name` in the file at `path`, None where there are none or not so many."""
    if name is None or len(Column(path, name)) != length:
        return None
    return HDF5Names(Place(path, name), length)


def index_of(file: Any, table: str) -> str | None:
    """The path of the column that names the rows of an AnnData table such as `obs`, None where there is none."""
    node = file.get(table)
    if node is None:
        return None
    if not hasattr(node, "keys"):
        return table if node.dtype.names else None
    stored = attribute(node, "_index")
    name = stored.decode() if isinstance(stored, bytes) else str("_index" if stored is None else stored)
    column = node.get(name)
    if column is None:
        return None
    # Texts that may be missing have a mask beside them.
    return f"{table}/{name}/values" if hasattr(column, "keys") and "values" in column else f"{table}/{name}"


def _is_categorical(node: Any) -> bool:
    return hasattr(node, "keys") and "codes" in node


def _index_field(node: Any) -> str:
    fields = node.dtype.names
    return "index" if "index" in fields else str(fields[0])
