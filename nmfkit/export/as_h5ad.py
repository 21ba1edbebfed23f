"""AnnData files, in the layout of AnnData 0.8 and later, written by h5py alone: a new one, and the parts of any."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import UsageError
from nmfkit.export.contents import FORMAT, Contents

NAMES = 2**14
"""Names in memory at once."""

OURS = "nmfkit_export"
"""The attribute of a file that an export has made, which every other writer of AnnData leaves out."""


def write(contents: Contents, path: Path) -> None:
    """A file without X: names in `obs` and `var`, factors in `obsm` and `varm`, the rest in `uns["nmfkit"]`.

    Memberships are factors; labels are where they are largest, and not written apart. Where H has columns that the
    model makes of the features, it is in `uns["nmfkit"]["factors"]`, and their names are `uns["nmfkit"]["columns"]`.

    Raises `UsageError` without h5py.
    """
    with library().File(path, "w") as file:
        encoded(file, "anndata", "0.1.0")
        file.attrs[OURS] = FORMAT
        _put_index(file, "obs", contents.row_labels)
        _put_index(file, "var", contents.feature_labels)
        for name in ("obsm", "varm", "uns", "layers", "obsp", "varp"):
            encoded(file.create_group(name), "dict", "0.1.0")
        put_factors(file, contents)


def library() -> Any:
    """h5py; raises `UsageError` saying how to get it."""
    try:
        import h5py
    except ImportError as error:
        raise UsageError(
            f'format h5ad needs h5py, which is not installed ({error}): pip install "nmfkit[h5ad]"'
        ) from error
    return h5py


def is_ours(path: Path) -> bool:
    """Whether the file is an export, not one of the user's that factors were put into, or that was worked on since."""
    try:
        with library().File(path, "r") as file:
            return OURS in file.attrs
    except OSError:
        return False


def obsm_key(name: str) -> str:
    """Where a row factor goes: W, as scanpy names embeddings."""
    return "X_nmf" if name == "w" else f"X_nmf_{name}"


def varm_key(name: str) -> str:
    """Where a factor of the features goes, turned round."""
    return "nmf" if name == "h" else f"nmf_{name}"


def _is_varm(contents: Contents, name: str) -> bool:
    """Whether the columns of a shared factor are the variables themselves, not what a model makes of them."""
    return contents.made_columns is None and contents.of_features(name)


def keys(contents: Contents) -> list[str]:
    """Every path that `put_factors` writes."""
    return [
        *(f"obsm/{obsm_key(name)}" for name in contents.row_factors),
        *(f"varm/{varm_key(name)}" for name in contents.shared if _is_varm(contents, name)),
        "uns/nmfkit",
    ]


def put_factors(file: Any, contents: Contents, rows: Array | None = None, features: Array | None = None) -> None:
    """Write the factors into an open file; `rows` and `features` say which of the run's comes at each place."""
    for name, (width, dtype) in contents.row_factors.items():
        data = file["obsm"].create_dataset(obsm_key(name), (contents.rows, width), dtype)
        encoded(data, "array", "0.2.0")
        for lo, block in contents.blocks(name) if rows is None else [(0, _whole(contents, name)[rows])]:
            data[lo : lo + len(block)] = block
    rest: dict[str, Array] = {}
    for name, factor in contents.shared.items():
        if not _is_varm(contents, name):
            rest[name] = factor
            continue
        turned = factor.T if features is None else factor.T[features]
        encoded(file["varm"].create_dataset(varm_key(name), data=turned), "array", "0.2.0")
    told = {**_described(contents), **({"factors": rest} if rest else {})}
    _put_mapping(file["uns"], "nmfkit", told)
    if (names := contents.made_columns) is not None:
        _put_names(file["uns/nmfkit"], "columns", names)


def _whole(contents: Contents, name: str) -> Array:
    width, dtype = contents.row_factors[name]
    whole = np.empty((contents.rows, width), dtype)
    for lo, block in contents.blocks(name):
        whole[lo : lo + len(block)] = block
    return whole


def _described(contents: Contents) -> dict[str, Any]:
    result = contents.result
    history = {name: np.asarray(result.history[name]) for name in ("sweep", "objective", "seconds")}
    return {
        "description": contents.text(format="h5ad"),
        "problem": json.dumps(result.problem.as_json(), ensure_ascii=False),
        "status": result.status,
        "objective": result.objective,
        "sweeps": result.state.sweep,
        "history": history,
    }


def _put_index(file: Any, name: str, labels: Sequence[Any]) -> None:
    group = file.create_group(name)
    encoded(group, "dataframe", "0.2.0")
    group.attrs["_index"] = "_index"
    group.attrs["column-order"] = np.array([], dtype=library().string_dtype())
    _put_names(group, "_index", labels)


def _put_names(group: Any, name: str, labels: Sequence[Any]) -> None:
    names = group.create_dataset(name, (len(labels),), library().string_dtype())
    encoded(names, "string-array", "0.2.0")
    for lo, piece in _pieces(labels):
        names[lo : lo + len(piece)] = np.array([str(n) for n in piece], dtype=object)


def _pieces(labels: Iterable[Any]) -> Iterator[tuple[int, list[Any]]]:
    left, lo = iter(labels), 0
    while piece := list(islice(left, NAMES)):
        yield lo, piece
        lo += len(piece)


def _put_mapping(group: Any, name: str, values: Mapping[str, Any]) -> None:
    below = group.create_group(name)
    encoded(below, "dict", "0.1.0")
    for key, value in values.items():
        if isinstance(value, Mapping):
            _put_mapping(below, key, value)
        elif isinstance(value, str):
            encoded(below.create_dataset(key, data=value, dtype=library().string_dtype()), "string", "0.2.0")
        else:
            kind = "array" if np.ndim(value) else "numeric-scalar"
            encoded(below.create_dataset(key, data=value), kind, "0.2.0")


def encoded(node: Any, kind: str, version: str) -> None:
    """Say how AnnData is to read the node."""
    node.attrs["encoding-type"], node.attrs["encoding-version"] = kind, version
