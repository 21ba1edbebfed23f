"""Files that are written aside and renamed, and never over what is not ours."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from nmfkit.errors import StoreError, UsageError
from nmfkit.sources.files import is_zarr
from nmfkit.sources.staging import local_path, reason

PAGE = b'<meta name="generator" content="nmfkit '
OURS = {
    ".html": PAGE,
    ".htm": PAGE,
    ".png": b"tEXtSoftware\0nmfkit",
    ".svg": b"<dc:title>nmfkit</dc:title>",
    ".pdf": b"/Creator (nmfkit)",
}
"""Where a page or a picture says that nmfkit made it; a name that is merely mentioned says nothing."""


def check_file(target: str | os.PathLike[str], *, kinds: Iterable[str], overwrite: bool = False) -> Path:
    """The absolute path of a file to write; raises `UsageError` or `StoreError` where that may not be.

    With `overwrite`, only a file of nmfkit's own is replaced.
    """
    path = local_path(os.fspath(target))
    if path.suffix.lower() not in kinds:
        raise UsageError(f"{path.name} does not end in {' or '.join(kinds)}, so it is not clear what to write")
    if store := next(filter(is_zarr, path.parents), None):
        raise StoreError(f"{path} lies inside the zarr store {store}; choose an output beside it")
    if path.exists():
        if not overwrite:
            raise StoreError(f"{path} exists; choose another name or pass --overwrite")
        mark = OURS.get(path.suffix.lower())
        if not (path.is_file() and mark is not None and mark in path.read_bytes()):
            raise StoreError(
                f"{path} exists and is no output of nmfkit, so --overwrite leaves it alone; remove it yourself"
            )
    parent = next(p for p in path.parents if p.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise StoreError(f"{path} cannot be written: {parent} is no folder that can be written to")
    return path


def write_file(path: Path, content: bytes) -> None:
    """Write `content` beside `path` and rename it; raises `StoreError`."""
    aside = path.with_name(f".{path.name}.partial-{uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(content)
        aside.replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {reason(error)}") from error
    finally:
        aside.unlink(missing_ok=True)
