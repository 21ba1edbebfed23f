"""`nmfkit transform`."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

import typer

from nmfkit.cli.options import OVERWRITE, Data, Known, OnAny, Output
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
    machine: OnAny,
    output: Output,
) -> None:
    """Find the rows of W for new data on the components of a run, in two reads of the data.

    A deep model gives those of every level.
    """
    from nmfkit import api
    from nmfkit.cli.faults import stopped_saying
    from nmfkit.cli.progress import watching
    from nmfkit.cli.text import duration, emit, facts, shape_text

    began = time.monotonic()
    with watching(quiet=output.quiet) as meter, stopped_saying(lambda: f"interrupted; {out} is not complete"):
        made = api.transform(
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
    factors = made if isinstance(made, dict) else {made.basename: made}
    if output.json:
        shapes = {name: {"shape": f.shape, "dtype": f.dtype.name} for name, f in factors.items()}
        only = next(iter(shapes.values())) if len(shapes) == 1 else {}
        emit({"out": out, **only, "factors": shapes, "run": run, "source": src, "seconds": seconds})
    elif output.speaks:
        print(f"{src} on the components of {run}\n")
        shown = [(name, shape_text(f.shape)) for name, f in factors.items()]
        print(facts([*shown, ("time", duration(seconds)), ("written to", out)], "  "))
