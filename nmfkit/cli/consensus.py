"""`nmfkit consensus`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nmfkit.cli.options import OVERWRITE, Output
from nmfkit.cli.replicates import ReplicateOptions
from nmfkit.errors import UsageError

if TYPE_CHECKING:
    from nmfkit.problem import Problem
    from nmfkit.selection.consensus import Consensus
    from nmfkit.selection.work import Data


def consensus(
    src: Annotated[
        str,
        typer.Argument(
            metavar="SRC", help="A matrix, or the folder of nmfkit select-rank or consensus.", show_default=False
        ),
    ],
    *,
    rank: Annotated[int, typer.Option(metavar="N", min=1, help="Number of components.", show_default=False)],
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="RUN.zarr", help="Where the run is written.", show_default=False)
    ],
    replicates: Annotated[
        int | None,
        typer.Option(metavar="N", help="Fits to cluster. Default: 50, or those that are there.", show_default=False),
    ] = None,
    density_threshold: Annotated[
        float, typer.Option(metavar="X", help="Components farther than this from their neighbours are dropped.")
    ] = 0.5,
    neighbourhood: Annotated[
        float, typer.Option(metavar="X", help="Neighbours looked at, as a share of the replicates.")
    ] = 0.3,
    picture: Annotated[
        str | None,
        typer.Option(
            "--plot", metavar="FIG", help="Draw the histogram of distances: .png, .svg or .pdf.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[bool, OVERWRITE] = False,
    options: ReplicateOptions,
    output: Output,
) -> None:
    """Cluster the components of many replicates into one robust set, and fit W to it.

    The result is an ordinary run. The replicates are kept beside it, and used again: for another threshold, or after
    an interruption.
    """
    from nmfkit.cli.faults import stopped_saying
    from nmfkit.cli.progress import watching
    from nmfkit.selection.store import is_selection

    selection = src if is_selection(src) else None
    request = options.request(src, rank)

    from nmfkit.selection.consensus import consensus_problem, refuse_odd
    from nmfkit.selection.work import Data

    refuse_odd(rank, replicates, density_threshold, neighbourhood)
    data, problem = Data(src, request.key, request.storage_options, request.mask, request.missing), request.problem
    if selection is not None:
        problem, data = _stored(selection, rank, options, data)
    if picture is not None:
        from nmfkit.selection.picture import ready

        ready(picture, overwrite=overwrite)
    with watching(quiet=output.quiet) as meter, stopped_saying(lambda: _left(selection, out)):
        found = consensus_problem(
            data,
            problem,
            selection=selection,
            replicates=replicates,
            density_threshold=density_threshold,
            neighbourhood=neighbourhood,
            out=out,
            overwrite=overwrite,
            watcher=meter,
            **request.machine,
        )
    if picture is not None:
        found.plot(picture, overwrite=overwrite)
    _tell(found, out, output)


def _stored(selection: str, rank: int, options: ReplicateOptions, data: Data) -> tuple[Problem, Data]:
    """What a selection is of; raises `UsageError` for options that it has settled."""
    from dataclasses import replace

    from nmfkit.selection.consensus import stored_problem

    if named := options.named():
        raise UsageError(f"{selection} has settled what is fitted; leave out {', '.join(named)}")
    return stored_problem(selection, rank, replace(data, x=None))


def _left(selection: str | None, out: str) -> str:
    from nmfkit.selection.consensus import beside

    return f"interrupted; the fits that are done are in {selection or beside(out)}; the same command goes on"


def _tell(found: Consensus, out: str, output: Output) -> None:
    from nmfkit.cli.text import emit, facts, number, shell, table

    if output.json:
        emit(found.as_dict())
    elif output.speaks:
        clusters, about = found.clusters, found.as_dict()
        print(f"{found.replicates} replicates, {about['components']:,} components\n")
        told = f"{about['dropped']:,} of {about['components']:,}, beyond {found.density_threshold:g}"
        lines = [("dropped", told), ("objective", number(found.result.objective)), ("run", out)]
        print(facts([*lines, ("replicates", str(found.replicates_at))], "  "))
        rows = [(str(k), f"{clusters.sizes[k]:,}", f"{clusters.silhouette[k]:.3f}") for k in range(len(clusters.sizes))]
        print("\n" + table([("component", "members", "silhouette"), *rows]))
        print("\n" + facts([("look at it", shell("nmfkit", "inspect", out))], "  "))
