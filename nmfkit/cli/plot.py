"""`nmfkit plot`."""

from __future__ import annotations

from typing import Annotated

import typer

from nmfkit.cli.options import Data, OnAny, Output
from nmfkit.cli.report import IMAGE_SHAPE, LABELS, REPLACE, SRC, TOP
from nmfkit.cli.resume import RUN


def plot(
    run: RUN,
    src: SRC = None,
    *,
    out: Annotated[
        str,
        typer.Option("--out", "-o", metavar="FIG", help="The picture: .png, .svg or .pdf.", show_default=False),
    ],
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="convergence, components, coefficients, residuals, similarity or levels.",
            show_default=False,
        ),
    ],
    level: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Of a model with levels, the one to show, from 1, next to the data. Default: the last; for residuals "
            "the first.",
            show_default=False,
        ),
    ] = None,
    image_shape: IMAGE_SHAPE = None,
    labels: LABELS = None,
    top: TOP = 8,
    overwrite: REPLACE = False,
    data: Data,
    machine: OnAny,
    output: Output,
) -> None:
    """Draw one picture of a run; kind levels shows how the levels of a deep model are linked."""
    from nmfkit.cli.faults import stopped_saying
    from nmfkit.cli.progress import watching
    from nmfkit.cli.text import emit, facts
    from nmfkit.executors.plan import size_text
    from nmfkit.report import write_picture

    with watching(quiet=output.quiet) as meter, stopped_saying(lambda: "interrupted; nothing was written"):
        made = write_picture(
            run,
            out,
            src,
            kind=kind,
            level=level,
            image_shape=image_shape,
            labels=labels,
            top=top,
            overwrite=overwrite,
            key=data.key,
            storage_options=data.storage_options,
            watcher=meter,
            **machine.given(),
        )
    if output.json:
        emit(made)
    elif output.speaks:
        print(facts([("written", f"{out}, {size_text(made['bytes'])}")]))
