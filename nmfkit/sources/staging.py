"""A store is written aside and renamed into place, so that nothing half-written is mistaken for a result."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from nmfkit.errors import StoreError, UsageError
from nmfkit.sources.files import is_zarr


@contextmanager
def staged(target: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A new directory beside `target` that takes its place when the block ends well, and vanishes when not.

    Raises `StoreError` where `target` exists (or, with `overwrite`, is anything but a zarr store) or where it
    cannot be written; whatever was there stays until the new one is complete.
    """
    final = _local(target)
    _check(final, overwrite)
    aside = final.with_name(f".{final.name}.partial-{uuid4().hex[:8]}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        aside.mkdir()
        yield aside
        _check(final, overwrite)
        _take_place(aside, final)
    except OSError as error:
        raise StoreError(f"{final} cannot be written: {error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _local(target: str | Path) -> Path:
    text = str(target)
    if text.startswith("file://"):
        text = text[len("file://") :]
    if "://" in text:
        raise UsageError(f"{text}: stores are written to local directories; copy the result there afterwards")
    return Path(text).expanduser().absolute()


def _check(final: Path, overwrite: bool) -> None:
    if not final.exists():
        return
    if not overwrite:
        raise StoreError(f"{final} exists; choose another name or pass --overwrite")
    # A slip of the pen must not cost somebody a folder of other files.
    if not is_zarr(final):
        raise StoreError(f"{final} exists and is no zarr store, so --overwrite leaves it alone; remove it yourself")


def _take_place(aside: Path, final: Path) -> None:
    old = final.with_name(f".{final.name}.old-{uuid4().hex[:8]}")
    if final.exists():
        final.rename(old)
    try:
        aside.rename(final)
    except OSError:
        if old.exists():
            old.rename(final)
        raise
    shutil.rmtree(old, ignore_errors=True)
