"""`nmfkit convert`."""

from __future__ import annotations

from typing import Annotated

import typer

from nmfkit.cli.options import OVERWRITE, Anywhere, Data, Output


def convert(
    src: Annotated[str, typer.Argument(metavar="SRC", help="Any readable matrix.", show_default=False)],
    dst: Annotated[str, typer.Argument(metavar="DST.zarr", help="The zarr store to write.", show_default=False)],
    *,
    transpose: Annotated[bool, typer.Option("--transpose", help="Write the transpose.")] = False,
    similarity: Annotated[
        str | None,
        typer.Option(
            metavar="KIND", help="The similarity of the rows: knn, cosine, or graph (SRC is one).", show_default=False
        ),
    ] = None,
    dtype: Annotated[str | None, typer.Option(metavar="TYPE", help="float32 or float64. Default: as in fit.")] = None,
    chunk_mb: Annotated[float, typer.Option(metavar="MB", help="Size of a chunk in MiB.")] = 8.0,
    overwrite: Annotated[bool, OVERWRITE] = False,
    data: Data,
    machine: Anywhere,
    output: Output,
) -> None:
    """Write a matrix as zarr that streams well by blocks of rows, in bounded memory."""
    from nmfkit import api
    from nmfkit.cli.faults import stopped_saying
    from nmfkit.cli.progress import watching
    from nmfkit.cli.text import emit, facts, shape_text, shell
    from nmfkit.executors.plan import size_text

    with watching(quiet=output.quiet) as meter, stopped_saying(lambda: "interrupted; nothing was written"):
        made = api.convert(
            src,
            dst,
            transpose=transpose,
            similarity=similarity,
            dtype=dtype,
            chunk_mb=chunk_mb,
            key=data.key,
            storage_options=data.storage_options,
            overwrite=overwrite,
            watcher=meter,
            **machine.given(),
        )
    if output.json:
        emit(made)
    elif output.speaks:
        kind = f"sparse, {made['nnz']:,} stored entries" if made["kind"] == "csr" else "dense"
        matrix = f"{shape_text(made['shape'])} {made['dtype']}, {kind}"
        print(facts([("written", dst), ("matrix", matrix), ("on disk", size_text(made["bytes"]))]))
        model = [] if similarity is None else ["--model", "symnmf"]
        print(f"\n  next  {shell('nmfkit', 'fit', dst, *model)} --rank N -o RUN.zarr")
