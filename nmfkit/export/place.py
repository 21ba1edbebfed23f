"""Where an export goes: a folder or a file, written aside and renamed; only an export is ever replaced."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from nmfkit.errors import StoreError
from nmfkit.sources.staging import check_output, local_path, reason, refuse_needed

DESCRIPTION = "run.json"


def check_place(out: str | Path, *, overwrite: bool, keep: Iterable[str | None] = ()) -> Path:
    """The absolute path of `out`; raises `StoreError` if what stands there may not be replaced, or on `keep`."""
    final = local_path(str(out))
    if not final.exists():
        check_output(final, keep=keep)
        return final
    refuse_needed(final, keep)
    if final.is_dir() and not any(final.iterdir()):
        return final
    if not overwrite:
        raise StoreError(f"{final} exists; choose another name or pass --overwrite")
    if not _is_export(final):
        raise StoreError(
            f"{final} exists and is no export of nmfkit, or holds other files, so --overwrite leaves it alone; "
            "remove it yourself"
        )
    return final


def _is_export(path: Path) -> bool:
    return _is_folder_of_ours(path) if path.is_dir() else _is_file_of_ours(path)


def _is_folder_of_ours(path: Path) -> bool:
    try:
        described = json.loads((path / DESCRIPTION).read_text("utf-8"))
        known = {DESCRIPTION, *described["files"]}
        return "nmfkit_export" in described and {p.name for p in path.iterdir()} <= known
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_file_of_ours(path: Path) -> bool:
    if path.suffix.lower() == ".npz":
        from nmfkit.export.as_npz import is_ours as is_archive_of_ours

        return is_archive_of_ours(path)
    from nmfkit.export.as_h5ad import is_ours

    return is_ours(path)


@contextmanager
def placed(final: Path, *, folder: bool, overwrite: bool, replacing: bool = False) -> Iterator[Path]:
    """A path aside that takes the place of `final` when the block ends well, and is gone when not.

    With `replacing`, `final` is a file that the user has named to be changed. Raises `StoreError` where it cannot be
    written, or something came into its way meanwhile.
    """
    aside = final.with_name(f".{final.name}.partial-{uuid4().hex[:8]}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        if folder:
            aside.mkdir()
        yield aside
        if not replacing:
            check_place(final, overwrite=overwrite)
        _take_place(aside, final)
    except OSError as error:
        raise StoreError(f"{final} cannot be written: {reason(error)}") from error
    finally:
        if aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.unlink(missing_ok=True)


def _take_place(aside: Path, final: Path) -> None:
    """A file goes over the one before in one step; a folder lets it stand aside until it is there."""
    if not aside.is_dir() or not final.exists():
        aside.replace(final)
        return
    old = final.with_name(f".{final.name}.old-{uuid4().hex[:8]}")
    final.rename(old)
    try:
        aside.rename(final)
    except OSError:
        old.rename(final)
        raise
    shutil.rmtree(old, ignore_errors=True)
