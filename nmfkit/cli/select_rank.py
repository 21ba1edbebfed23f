"""`nmfkit select-rank`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nmfkit.cli.options import OVERWRITE, Output
from nmfkit.cli.replicates import ReplicateOptions

if TYPE_CHECKING:
    from nmfkit.selection.select import Selection
    from nmfkit.selection.table import RankRow

SOURCE = Annotated[str, typer.Argument(metavar="SRC", help="A matrix, as for nmfkit fit.", show_default=False)]
PLOT = typer.Option("--plot", metavar="FIG", help="Draw the figures: .png, .svg or .pdf.", show_default=False)


def select_rank(
    src: SOURCE,
    *,
    ranks: Annotated[
        str, typer.Option(metavar="RANKS", help="2:20, 2:20:3 or 2,4,8; the last is among them.", show_default=False)
    ],
    replicates: Annotated[int, typer.Option(metavar="N", min=1, help="Replicates at each rank.")] = 10,
    share: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Part of the entries hidden from a replicate. Default: 0.1, in a sparse matrix as many as it stores.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", "-o", metavar="SELECTION.zarr", help="Keep each fit here, and go on from here.", show_default=False
        ),
    ] = None,
    picture: Annotated[str | None, PLOT] = None,
    overwrite: Annotated[bool, OVERWRITE] = False,
    options: ReplicateOptions,
    output: Output,
) -> None:
    """Fit many ranks, several times each, and recommend one, by held-out entries and the agreement of the replicates.

    Interrupted with -o, the same command goes on where it was; further ranks or replicates join those that are there.
    """
    from nmfkit.cli.faults import stopped_saying
    from nmfkit.cli.progress import watching
    from nmfkit.selection.ranks import parse_ranks

    wanted = parse_ranks(ranks)
    request = options.request(src, wanted[-1])

    from nmfkit.selection.select import refuse_odd_share, select_problem
    from nmfkit.selection.store import is_selection
    from nmfkit.selection.work import Data

    refuse_odd_share(share)
    # A picture of fits that are gone on with is drawn again.
    again = overwrite or (out is not None and is_selection(out))
    if picture is not None:
        from nmfkit.selection.picture import ready

        ready(picture, overwrite=again)
    left = f"the fits that are done are in {out}; the same command goes on" if out else "nothing was kept: name -o"
    with watching(quiet=output.quiet) as meter, stopped_saying(lambda: f"interrupted; {left}"):
        found = select_problem(
            Data(src, request.key, request.storage_options, request.mask, request.missing),
            request.problem,
            wanted,
            replicates=replicates,
            share=share,
            out=out,
            overwrite=overwrite,
            watcher=meter,
            **request.machine,
        )
    if picture is not None:
        found.plot(picture, overwrite=again)
    _tell(found, output, picture)


def _tell(found: Selection, output: Output, picture: str | None) -> None:
    from nmfkit.cli.text import emit, table

    if output.json:
        emit(found.as_dict())
    elif output.speaks:
        head = ("rank", "objective", "rel. error", "decrease", "held-out", "± error", "silhouette", "weakest",
                "similarity", "cophenetic", "dispersion")  # fmt: skip
        print(f"{found.source}, {found.table[0].replicates} replicates of {len(found.table)} ranks\n")
        print(table([head, *(_cells(row, found.rank) for row in found.table)]))
        print(f"\n{found.why}")
        for note in found.notes:
            print(f"note: {note}")
        if picture:
            print(f"drawn in {picture}")


def _cells(row: RankRow, chosen: int) -> tuple[str, ...]:
    from nmfkit.cli.text import number

    def three(name: str) -> str:
        value = getattr(row, name)
        return "–" if value != value else f"{value:.3f}"

    names = ("silhouette", "weakest", "similarity", "cophenetic", "dispersion")
    return (
        f"{row.rank}{' ←' if row.rank == chosen else ''}",
        number(row.objective),
        *(three(name) for name in ("relative_error", "decrease", "relative", "standard_error", *names)),
    )
