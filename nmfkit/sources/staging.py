"""A store is written aside and renamed into place, so that nothing half-written is mistaken for a result."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import zarr

from nmfkit.errors import StoreError, UsageError
from nmfkit.sources.door import bare
from nmfkit.sources.files import is_zarr
from nmfkit.sources.remote import Options
from nmfkit.sources.remote_output import check_remote
from nmfkit.sources.uri import is_remote


@contextmanager
def staged(target: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A new directory beside `target` that takes its place when the block ends well, and vanishes when not.

    Raises `StoreError` as `check_output` does; whatever was there stays until the new one is complete.
    """
    final = local_path(target)
    check_output(final, overwrite=overwrite)
    aside = final.with_name(f".{final.name}.partial-{uuid4().hex[:8]}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        aside.mkdir()
        yield aside
        check_output(final, overwrite=overwrite)
        _take_place(aside, final)
    except OSError as error:
        raise StoreError(f"{final} cannot be written: {reason(error)}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def check_output(
    target: str | Path,
    *,
    overwrite: bool = False,
    keep: Iterable[str | None] = (),
    options: Options | None = None,
) -> None:
    """Raise `StoreError` if something stands at `target` that may not be replaced, or nothing can be written there.

    With `overwrite`, only an output of nmfkit or an empty folder may be replaced. The paths in `keep` (those of the
    data, say) must lie neither inside `target` nor around it. `options` open a `target` that is a URI.
    """
    if is_remote(str(target)):
        check_remote(str(target), options, overwrite=overwrite, keep=keep)
        return
    final = local_path(target)
    refuse_needed(final, keep)
    if store := next(filter(is_zarr, final.parents), None):
        raise StoreError(f"{final} lies inside the zarr store {store}; choose an output beside it")
    if final.exists():
        if not overwrite:
            raise StoreError(f"{final} exists; choose another name or pass --overwrite")
        # A slip of the pen must not cost somebody a folder of other files.
        if not _is_ours(final):
            raise StoreError(
                f"{final} exists and is no output of nmfkit, so --overwrite leaves it alone; remove it yourself"
            )
    parent = next(p for p in final.parents if p.exists())
    try:
        # Permissions alone do not tell: root may write everywhere, but not into a read-only file system.
        Path(tempfile.mkdtemp(prefix=".nmfkit-", dir=parent)).rmdir()
    except OSError as error:
        raise StoreError(f"{final} cannot be written: {parent}: {reason(error)}") from error


def refuse_needed(final: Path, keep: Iterable[str | None]) -> None:
    """Raise `StoreError` if one of the paths in `keep` is `final` or lies inside."""
    for text in keep:
        if text is None or "://" in text:
            continue
        kept = Path(bare(text)).resolve()
        if final == kept or final in kept.parents:
            what = "is" if final == kept else f"holds {kept}, which is"
            raise StoreError(f"{final} {what} still needed; choose another output")


def _is_ours(path: Path) -> bool:
    if not path.is_dir():
        return False
    if not any(path.iterdir()):
        return True
    try:
        return "nmfkit_format" in zarr.open_group(str(path), mode="r").attrs
    except Exception:
        return False


def reason(error: OSError) -> str:
    """Why writing failed, in words."""
    return "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)


def local_path(target: str | Path) -> Path:
    """The absolute path of an output; raises `UsageError` for a remote one."""
    text = str(target)
    if text.startswith("file://"):
        text = text[len("file://") :]
    if "://" in text:
        raise UsageError(f"{text}: this is written to a local directory; copy the result there afterwards")
    return Path(text).expanduser().resolve()


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
