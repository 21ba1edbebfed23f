"""`nmfkit transform`."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

import typer

from nmfkit.cli.options import OVERWRITE, Anywhere, Data, Known, Output
from nmfkit.cli.resume import RUN


def transform(
    run: RUN,
    src: Annotated[str, typer.Argument(metavar="SRC", help="New rows of the same features.", show_default=False)],
    *,
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="OUT.zarr", help="Where W is written.", show_default=False)
    ],
    max_sweeps: Annotated[int, typer.Option(metavar="N", min=1, help="Most updates of a block of rows.")] = 200,
    tol: Annotated[
        float,
        typer.Option(metavar="X", help="A block is done when no entry moves by more than this part of the largest."),
    ] = 1e-5,
    overwrite: Annotated[bool, OVERWRITE] = False,
    data: Data,
    known: Known,
    machine: Anywhere,
    output: Output,
) -> None:
    """Find the rows of W for new data on the components of a run, in two reads of the data."""
    from nmfkit import api
    from nmfkit.cli.faults import stopped_saying
    from nmfkit.cli.progress import watching
    from nmfkit.cli.text import duration, emit, facts, shape_text

    began = time.monotonic()
    with watching(quiet=output.quiet) as meter, stopped_saying(lambda: f"interrupted; {out} is not complete"):
        w = api.transform(
            run,
            src,
            max_sweeps=max_sweeps,
            tol=tol,
            out=out,
            overwrite=overwrite,
            key=data.key,
            storage_options=data.storage_options,
            **asdict(known),
            watcher=meter,
            **machine.given(),
        )
    seconds = time.monotonic() - began
    if output.json:
        emit({"out": out, "shape": w.shape, "dtype": w.dtype.name, "run": run, "source": src, "seconds": seconds})
    elif output.speaks:
        print(f"{src} on the components of {run}\n")
        print(facts([("w", shape_text(w.shape)), ("time", duration(seconds)), ("written to", out)], "  "))
