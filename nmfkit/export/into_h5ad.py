"""Factors into an AnnData file that there is: into a copy, or in place by a copy that takes its place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from stat import S_IMODE, S_IWUSR
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import DataError, SourceError, StoreError, UsageError
from nmfkit.export.as_h5ad import OURS, encoded, keys, library, put_factors
from nmfkit.export.contents import FORMAT, Contents
from nmfkit.export.place import check_place, placed
from nmfkit.sources.names import coded
from nmfkit.sources.observed import data_places
from nmfkit.sources.staging import local_path

SHOWN = 3
"""Names that a message lists."""


def add_to(contents: Contents, source: Path, target: Path, *, in_place: bool, overwrite: bool) -> list[str]:
    """Write the factors into a copy of `source` at `target`, which is `source` itself if `in_place`; returns notes.

    The file is read before anything is written, and is whole at every moment. Raises `SourceError` where it is no
    AnnData file, `DataError` where its names or its shape are not those of the run, `StoreError` where it holds such
    factors already without `overwrite`, or where `target` may not be replaced.
    """
    origin = local_path(str(source))
    if not origin.is_file():
        raise SourceError(f"{origin} {'is no file' if origin.exists() else 'does not exist'}")
    before = _stamp(origin)
    rows, features, notes = _matched(contents, origin, overwrite=overwrite)
    if in_place:
        final = origin
        if not os.access(final, os.W_OK):
            raise StoreError(f"{final} may not be written; write a copy of it, -o NEW.h5ad")
    else:
        final = local_path(str(target))
        if final == origin:
            raise UsageError(f"{target} is the file itself; to change that, leave -o out and say --in-place")
        needed = [contents.result.path, *data_places(contents.result.attributes["source"])]
        check_place(final, overwrite=overwrite, keep=needed)
    # What stands in place of itself is ours to replace, by name.
    with placed(final, folder=False, overwrite=overwrite, replacing=in_place) as aside:
        shutil.copyfile(origin, aside)
        with _readable(origin, RuntimeError, KeyError), library().File(aside, "r+") as file:
            _mark(file, made=not in_place)
            _clear(file, contents)
            put_factors(file, contents, rows, features)
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        # Last, for the mode of an archive would keep its copy from being written.
        aside.chmod(S_IMODE(origin.stat().st_mode) | S_IWUSR)
        if _stamp(origin) != before:
            raise StoreError(f"{origin} was changed meanwhile, by somebody else; it is left as it is now")
    return notes


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes when somebody writes to the file."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


@contextmanager
def _readable(path: Path, *faults: type[Exception]) -> Iterator[None]:
    """Turn `faults`, which h5py makes of damage, into a `SourceError`."""
    try:
        yield
    except faults as error:
        raise SourceError(f"{path} is damaged, and left as it is: {error}") from error


def _mark(file: Any, *, made: bool) -> None:
    """Say whether the file is an export, which another one may replace, or the user's own."""
    if made:
        file.attrs[OURS] = FORMAT
    elif OURS in file.attrs:
        del file.attrs[OURS]


def _clear(file: Any, contents: Contents) -> None:
    for path in keys(contents):
        folder = path.partition("/")[0]
        if folder not in file:
            encoded(file.create_group(folder), "dict", "0.1.0")
        if path in file:
            del file[path]


def _matched(contents: Contents, path: Path, *, overwrite: bool) -> tuple[Array | None, Array | None, list[str]]:
    """Which rows and features of the run come at each place of the file, None where all are in order; and notes."""
    h5py = library()
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise SourceError(f"{path} cannot be read as an HDF5 file: {error}") from error
    with file, _readable(path, OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError):
        _refuse_links(path, file)
        obs, var = _index(path, file, "obs"), _index(path, file, "var")
        if not overwrite and (there := [key for key in keys(contents) if key in file]):
            raise StoreError(f"{path} holds {', '.join(there)} already; pass --overwrite to replace that")
    _refuse_shape(contents, path, (len(obs), len(var)))
    result = contents.result
    rows, said_of_rows = _order(path, "row", "obs", result.row_names, obs)
    features, said_of_features = _order(path, "feature", "var", result.feature_names, var)
    return rows, features, said_of_rows + said_of_features


def _refuse_links(path: Path, file: Any) -> None:
    """Raise `SourceError` where what is written would end up in another file."""
    for folder in ("obsm", "varm", "uns"):
        link = file.get(folder, getlink=True)
        if isinstance(link, library().ExternalLink):
            raise SourceError(f"{path}: {folder} leads to another file, {link.filename}, which is not changed")


def _refuse_shape(contents: Contents, path: Path, found: tuple[int, int]) -> None:
    wanted = (contents.rows, contents.columns)
    if found == wanted:
        return
    turned = "; it is the transpose of what was fitted" if found == wanted[::-1] else ""
    raise DataError(
        f"{path} holds {found[0]:,} observations × {found[1]:,} variables, and the run was fitted to "
        f"{wanted[0]:,} rows × {wanted[1]:,} features{turned}: it needs the very ones that were fitted"
    )


def _index(path: Path, file: Any, frame: str) -> list[str]:
    group = file.get(frame)
    name = None if group is None or not hasattr(group, "keys") else group.attrs.get("_index", "_index")
    index = None if name is None else group.get(name)
    if index is not None and hasattr(index, "keys"):
        if "codes" in index:
            names: list[str] = coded(index["categories"][:], index["codes"][:]).tolist()
            return names
        index = index.get("values")  # with a mask of missing values beside it
    if index is None:
        raise SourceError(
            f"{path} is no AnnData file of version 0.7 or later: it holds no names in {frame}; read it with anndata "
            "and write it again"
        )
    return [v.decode() if isinstance(v, bytes) else str(v) for v in index[:].tolist()]


def _order(path: Path, what: str, frame: str, names: Sequence[str] | None, found: list[str]) -> tuple[Any, list[str]]:
    """Where in the run each name of the file is; raises `DataError` where that cannot be told."""
    if names is None:
        return None, [f"the run has no names of {what}s, so they are taken to be in the order of {path}"]
    own = list(names)
    if own == found:
        return None, []
    _refuse_odd(path, what, frame, own, found)
    places = {name: i for i, name in enumerate(own)}
    return np.array([places[name] for name in found]), [f"the {what}s of {path} are in another order: realigned"]


def _refuse_odd(path: Path, what: str, frame: str, own: list[str], found: list[str]) -> None:
    strange, lacking = sorted(set(found) - set(own)), sorted(set(own) - set(found))
    if strange or lacking:
        pieces = [f"{path} has {_some(strange)}, unknown to the run"] if strange else []
        pieces += [f"the run has {_some(lacking)}, unknown to the file"] if lacking else []
        raise DataError(f"the {what}s differ by the names in {frame}: {'; '.join(pieces)}")
    if len(places := set(own)) < len(own):
        doubled = sorted(name for name in places if own.count(name) > 1)[:SHOWN] if len(own) < 10_000 else []
        raise DataError(
            f"the {what}s of {path} are in another order, and some names are there twice{_listed(doubled)}, so they "
            "cannot be told apart; bring them into the order of the run"
        )


def _listed(names: list[str]) -> str:
    return f" ({', '.join(map(repr, names))})" if names else ""


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"{', '.join(map(repr, names[:SHOWN]))}{more}"
