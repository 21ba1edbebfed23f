"""Paths and URIs: zarr stores open here, every other file by the readers that plugins offer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmfkit.errors import NmfkitError, SourceError, UsageError
from nmfkit.sources.columns import StoredByColumns
from nmfkit.sources.door import Door, door, known, refuse_unknown
from nmfkit.sources.renamed import Renamed
from nmfkit.sources.turned import turned
from nmfkit.sources.uri import is_remote, local_path

if TYPE_CHECKING:
    from nmfkit.protocols import Source

ZARR_SUFFIX = ".zarr"
ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")
"""Files that make a directory a zarr node, v3 and v2."""


def open_path(
    text: str,
    *,
    key: str | None = None,
    dtype: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Source:
    """Open a path or URI, by the reader that it names, its scheme, its suffix, or what the folder holds.

    `options` go to a reader that has parameters of these names; others ignore them.
    """
    readers = _readers()
    how = _How(key, dtype, options or {})
    reader = _longest(text, readers, "schemes")
    if reader is None and is_remote(text):
        return _open_remote(text, readers, key, dtype, storage_options)
    if storage_options is not None:
        raise UsageError(f"storage_options are for stores opened by a URI such as s3://…, and {text} is none")
    if reader is not None:
        return _load(reader, text, how)
    if (named := door(text)) is not None:
        return _load(named.reader, named.path, how, named)
    path = local_path(text)
    if not path.exists():
        refuse_unknown(text)
    if path.name.lower().endswith(ZARR_SUFFIX) or is_zarr(path):
        return _open_zarr(str(path), key, dtype)
    return _open_file(path, readers, how)


@dataclass(frozen=True)
class _How:
    """What the caller asked for."""

    key: str | None
    dtype: Any
    options: Mapping[str, Any]


def is_zarr(path: Path) -> bool:
    """Whether `path` is a directory that holds zarr metadata."""
    return any((path / name).is_file() for name in ZARR_FILES)


def _open_file(path: Path, readers: list[Any], how: _How) -> Source:
    if path.is_dir():
        return _load(_of_folder(path, readers), str(path.absolute()), how)
    reader = _longest(path.name, readers, "suffixes")
    if not path.exists() and (reader or path.suffix or ":" not in path.name):
        raise SourceError(f"{path} does not exist")
    if reader is None:
        raise UsageError(_unknown(path.name, readers))
    return _load(reader, str(path.absolute()), how)  # a run that is resumed elsewhere must find it again


def _of_folder(path: Path, readers: list[Any]) -> Any:
    """The reader of a folder, by the files that lie in it."""
    fits = [r for r in readers if any((path / name).is_file() for name in r.spec.holds)]
    if not fits:
        raise SourceError(
            f"{path} is a directory without zarr metadata ({', '.join(ZARR_FILES)}), so no zarr store; a reader "
            f"of folders is named before the path, as in NAME:{path} (nmfkit plugins list)"
        )
    if len(fits) > 1:
        ways = " or ".join(f"{r.name}:{path}" for r in fits)
        raise UsageError(f"{path} may be read by several readers; name one: {ways}")
    return fits[0]


def _open_remote(
    uri: str, readers: list[Any], key: str | None, dtype: Any, storage_options: Mapping[str, Any] | None
) -> Source:
    if (reader := _longest(uri, readers, "suffixes")) is not None:
        raise UsageError(
            f"{uri}: {reader.spec.name} is read from local disks only; copy the file here, or convert it to zarr with "
            "nmfkit convert and put that store there"
        )
    return _open_zarr(uri, key, dtype, storage_options)


def _open_zarr(uri: str, key: str | None, dtype: Any, storage_options: Mapping[str, Any] | None = None) -> Source:
    from nmfkit.sources.zarr_open import open_uri

    return open_uri(uri, key=key, dtype=dtype, storage_options=storage_options)


def _readers() -> list[Any]:
    from nmfkit.registry import registry

    return list(registry().readers())


def _load(reader: Any, path: str, how: _How, named: Door | None = None) -> Source:
    """The source that a reader makes of `path`; whatever it stumbles over becomes a `SourceError`."""
    from nmfkit.sources import wrap

    factory = reader.load()
    uri = path if named is None else named.uri
    options = known(factory, how.options) | (named.options(factory) if named else {}) | dict(reader.spec.preset)
    turn = named is not None and named.transposes
    key = how.key if how.key is not None or named is None else named.key
    try:
        source = wrap(factory(path, key=key, **options), uri=path, dtype=None if turn else how.dtype)
        if turn:
            source = wrap(turned(source, reader.name), uri=path, dtype=how.dtype)
        return _renamed(source, uri)
    except StoredByColumns as stored:
        raise StoredByColumns(stored.where, _renamed(wrap(stored.turned, uri=path, dtype=how.dtype), uri)) from None
    except (NmfkitError, MemoryError):
        raise
    except Exception as error:
        raise SourceError(f"{path} cannot be read as {reader.spec.name}: {error or type(error).__name__}") from error


def _renamed(source: Source, uri: str) -> Source:
    return source if source.uri == uri else Renamed(source, uri)


def _longest(text: str, readers: Iterable[Any], kind: str) -> Any:
    """The reader whose suffix or scheme fits `text`; the longest wins, so that `.csv.gz` beats `.gz`."""
    fits = str.endswith if kind == "suffixes" else str.startswith
    found = [(len(s), r) for r in readers for s in getattr(r.spec, kind) if fits(text.lower(), s.lower())]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _unknown(name: str, readers: list[Any]) -> str:
    known = sorted({ZARR_SUFFIX, *(s for r in readers for s in (*r.spec.suffixes, *r.spec.schemes))})
    # Of a.b.csvv, the longest part after a dot (or the scheme) that resembles something known.
    given = [name] if ":" in name else [name[i:].lower() for i, c in enumerate(name) if c == "."]
    close = next((c for g in given if (c := get_close_matches(g, known, n=1, cutoff=0.6))), [])
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"no reader knows the kind of {name!r}{hint}; known: {', '.join(known)}. Or name a reader: NAME:{name}"
