"""`nmfkit convert`."""

from __future__ import annotations

from typing import Annotated

import typer

from nmfkit.cli.options import KEY, OVERWRITE, Output


def convert(
    src: Annotated[str, typer.Argument(metavar="SRC", help="Any readable matrix.", show_default=False)],
    dst: Annotated[str, typer.Argument(metavar="DST.zarr", help="The zarr store to write.", show_default=False)],
    *,
    transpose: Annotated[bool, typer.Option("--transpose", help="Write the transpose.")] = False,
    dtype: Annotated[str | None, typer.Option(metavar="TYPE", help="float32 or float64. Default: as in fit.")] = None,
    chunk_mb: Annotated[float, typer.Option(metavar="MB", help="Size of a chunk in MiB.")] = 8.0,
    key: Annotated[str | None, KEY] = None,
    overwrite: Annotated[bool, OVERWRITE] = False,
    output: Output,
) -> None:
    """Write a matrix as zarr that streams well by blocks of rows, in bounded memory."""
    from nmfkit.cli.faults import stopped_saying
    from nmfkit.cli.text import emit, facts, shape_text, shell
    from nmfkit.executors.plan import size_text
    from nmfkit.sources.convert import convert as write

    with stopped_saying(lambda: "interrupted; nothing was written"):
        made = write(src, dst, transpose=transpose, dtype=dtype, chunk_mb=chunk_mb, key=key, overwrite=overwrite)
    if output.json:
        emit(made)
    elif output.speaks:
        kind = f"sparse, {made['nnz']:,} stored entries" if made["kind"] == "csr" else "dense"
        matrix = f"{shape_text(made['shape'])} {made['dtype']}, {kind}"
        print(facts([("written", dst), ("matrix", matrix), ("on disk", size_text(made["bytes"]))]))
        print(f"\n  next  {shell('nmfkit', 'fit', dst)} --rank N -o RUN.zarr")
