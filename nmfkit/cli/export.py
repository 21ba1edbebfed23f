"""`nmfkit export`."""

from __future__ import annotations

from typing import Annotated

import typer

from nmfkit.cli.options import OVERWRITE, STORAGE_OPTION, Data, Output
from nmfkit.cli.resume import RUN


def export(
    run: RUN,
    *,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="DIR", help="A folder; or one file, NAME.npz or NAME.h5ad."),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(metavar="npz|csv|parquet|h5ad", help="Default: by the ending of DIR, else csv."),
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(metavar="FILE.h5ad", help="Add the factors to a copy of this AnnData file, written to --out."),
    ] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="With --into: change that file itself, without --out.")
    ] = False,
    storage_option: Annotated[list[str] | None, STORAGE_OPTION] = None,
    overwrite: Annotated[bool, OVERWRITE] = False,
    output: Output,
) -> None:
    """Write the factors of a run for other tools, with the names of its rows and features.

    csv: w.csv has a line for each row of X and a column for each component, h.csv a line for each component and a
    column for each feature. parquet: the same, but h.parquet has a line for each feature. npz: arrays by name, for
    numpy.load. h5ad: an AnnData file with W as obsm["X_nmf"] and H as varm["nmf"]. The history and a description of
    the run go along. Of a model with levels, every factor is written under its name, and components_2, … are those of
    deeper levels in the features of X. Of a symmetric model, labels.csv has the group of each row and its part in it,
    and memberships.csv its part in every group; parquet and npz have the same, h5ad the memberships.
    """
    import sys

    from nmfkit.cli.text import emit, facts, shape_text
    from nmfkit.export import export as write
    from nmfkit.sources.uri import is_remote

    options = Data(storage_option=storage_option).storage_options if is_remote(run) else None
    made = write(run, out, format=format, into=into, in_place=in_place, overwrite=overwrite, storage_options=options)
    if not output.quiet:
        for note in made.notes:
            print(f"note: {note}", file=sys.stderr)
    if output.json:
        emit({"run": run, "out": made.out, "format": made.format, "files": made.files, "notes": made.notes})
    elif output.speaks:
        lines = [("format", made.format), ("matrix", shape_text(made.shape)), ("files", "\n".join(made.files))]
        print(f"{run}, written to {made.out}\n\n{facts(lines, '  ')}")
