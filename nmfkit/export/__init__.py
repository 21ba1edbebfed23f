"""Factors of a run in files of other tools: npz, csv, parquet, h5ad; one writer a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from nmfkit.errors import UsageError
from nmfkit.export.contents import Contents
from nmfkit.export.place import DESCRIPTION, check_place, placed
from nmfkit.result import Result, load
from nmfkit.sources.observed import data_places

FORMATS = ("npz", "csv", "parquet", "h5ad")
SINGLE = {".npz": "npz", ".h5ad": "h5ad"}
"""Endings of an output that is one file."""


@dataclass(frozen=True)
class Exported:
    """What was written: `files` by their full paths; `shape` (m, n) is that of the matrix.

    `notes` are sentences on what may surprise.
    """

    out: str
    format: str
    files: tuple[str, ...]
    shape: tuple[int, int]
    notes: tuple[str, ...] = ()


def export(
    run: Result | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    format: str | None = None,
    into: str | os.PathLike[str] | None = None,
    in_place: bool = False,
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Exported:
    """Write the factors of `run` with the names of its rows and features, its history and its problem.

    `out` is a folder, or one file where it ends in `.npz` or `.h5ad`; without a `format` that ending decides, else it
    is csv. With `into`, an AnnData file, they go into a copy of it at `out`, or into itself where `in_place` is set:
    W as `obsm["X_nmf"]`, Hᵀ as `varm["nmf"]`, the rest in `uns["nmfkit"]`. Everything is written aside and renamed.
    Raises `UsageError` for what does not go together, `StoreError` where something stands in the way, `SourceError`
    where `into` cannot be read, `DataError` where its rows or features are not those of the run.
    """
    chosen = _format(out, format, into, in_place)
    result = run if isinstance(run, Result) else load(run, storage_options=storage_options)
    contents = Contents(result)
    if into is not None:
        from nmfkit.export.into_h5ad import add_to

        target = Path(into if in_place else str(out))
        notes = add_to(contents, Path(into), target, in_place=in_place, overwrite=overwrite)
        return Exported(
            str(target), chosen, (str(target.expanduser().absolute()),), result.shape, (*contents.notes, *notes)
        )
    assert out is not None
    final = check_place(str(out), overwrite=overwrite, keep=[result.path, *data_places(result.attributes["source"])])
    single = final.suffix.lower() in SINGLE
    with placed(final, folder=not single, overwrite=overwrite) as aside:
        if single:
            _writer(chosen)(contents, aside)
            names = [""]
        else:
            names = _write_folder(contents, aside, chosen)
    return Exported(str(out), chosen, tuple(str(final / name) for name in names), result.shape, contents.notes)


def _write_folder(contents: Contents, folder: Path, chosen: str) -> list[str]:
    if chosen in SINGLE.values():
        _writer(chosen)(contents, folder / f"factors.{chosen}")
    else:
        _writer(chosen)(contents, folder)
    names = sorted(path.name for path in folder.iterdir())
    (folder / DESCRIPTION).write_text(contents.text(format=chosen, files=names), "utf-8")
    return [*names, DESCRIPTION]


def _writer(chosen: str) -> Callable[[Contents, Path], None]:
    """What writes a format; only its module imports the library that it needs."""
    writers = {"npz": "as_npz", "csv": "as_csv", "parquet": "as_parquet", "h5ad": "as_h5ad"}
    write: Callable[[Contents, Path], None] = import_module(f"nmfkit.export.{writers[chosen]}").write
    return write


def _format(out: Any, given: str | None, into: Any, in_place: bool) -> str:
    """The format; raises `UsageError` listing all that does not go together."""
    faults = []
    ending = SINGLE.get(Path(str(out)).suffix.lower()) if out is not None else None
    chosen = given or ("h5ad" if into is not None else ending or "csv")
    if chosen not in FORMATS:
        faults.append(f"format {given!r} is not one of {', '.join(FORMATS)}")
    elif ending and ending != chosen:
        faults.append(f"{out} ends in .{ending}, and format {chosen} does not write such a file; name a folder")
    if into is not None:
        faults += _faults_of_into(out, chosen, into, in_place)
    elif in_place:
        faults.append("--in-place changes a file, and none is named; add --into FILE.h5ad")
    elif out is None:
        faults.append("no output is given; use -o DIR")
    if faults:
        raise UsageError("\n".join(faults))
    return chosen


def _faults_of_into(out: Any, chosen: str, into: Any, in_place: bool) -> list[str]:
    faults = []
    if chosen != "h5ad":
        faults.append(f"format {chosen} cannot go into {into}; leave the format out, or write h5ad")
    if in_place and out is not None:
        faults.append(f"--in-place changes {into} itself, and -o names a copy of it, {out}; choose one")
    if not in_place and out is None:
        faults.append(f"name the copy of {into} that is to be written, -o NEW.h5ad, or change it itself, --in-place")
    if not in_place and out is not None and Path(str(out)).suffix.lower() != ".h5ad":
        faults.append(f"{out} is to be a copy of {into} and should end in .h5ad")
    return faults
