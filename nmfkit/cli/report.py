"""`nmfkit report`."""

from __future__ import annotations

from typing import Annotated

import typer

from nmfkit.cli.options import Data, OnAny, Output
from nmfkit.cli.resume import RUN

SRC = Annotated[
    str | None,
    typer.Argument(
        metavar="[SRC]", help="The data of the run, where they lie elsewhere now; for residuals.", show_default=False
    ),
]
IMAGE_SHAPE = Annotated[
    str | None,
    typer.Option(
        metavar="H,W",
        help="The features (or the rows) are pixels of such images, row by row; H,W,columns: column by column.",
        show_default=False,
    ),
]
LABELS = Annotated[
    str | None,
    typer.Option(
        metavar="FILE[:COLUMN]",
        help="A label for each row: one a line, or a column of a .csv, .tsv, .npy, .npz.",
        show_default=False,
    ),
]
TOP = Annotated[int, typer.Option(metavar="N", min=1, help="Features to show of each component.")]
REPLACE = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file of nmfkit's own.")]


def report(
    run: RUN,
    src: SRC = None,
    *,
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="REPORT.html", help="The page to write.", show_default=False)
    ],
    image_shape: IMAGE_SHAPE = None,
    labels: LABELS = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A table of known components with the same features, to be matched.",
            show_default=False,
        ),
    ] = None,
    top: TOP = 8,
    overwrite: REPLACE = False,
    data: Data,
    machine: OnAny,
    output: Output,
) -> None:
    """Write a page about a run: how it went, its components, samples and residuals, and what to be careful about.

    Of a model with levels, it shows each of them and how they are linked.
    The page is one file that opens without a network. The data are read once for the residuals; where they are gone,
    the page says so and does without.
    """
    from nmfkit.cli.faults import stopped_saying
    from nmfkit.cli.progress import watching
    from nmfkit.cli.text import emit, facts, shell
    from nmfkit.executors.plan import size_text
    from nmfkit.report import write_report

    with watching(quiet=output.quiet) as meter, stopped_saying(lambda: "interrupted; nothing was written"):
        made = write_report(
            run,
            out,
            src,
            image_shape=image_shape,
            labels=labels,
            reference=reference,
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
        told = [("!", "\n".join(filter(None, (c["text"], c["command"])))) for c in made["cautions"]]
        print(facts([("written", f"{out}, {size_text(made['bytes'])}"), *told]))
        print(f"\n  look at it  {shell('xdg-open', out)}, or open it in a browser")
