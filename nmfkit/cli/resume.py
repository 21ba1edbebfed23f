"""`nmfkit resume`."""

from __future__ import annotations

from typing import Annotated

import typer

from nmfkit.cli.options import Data, OnAny, Output

RUN = Annotated[str, typer.Argument(metavar="RUN.zarr", help="A run that nmfkit fit wrote.", show_default=False)]


def resume(
    run: RUN,
    src: Annotated[
        str | None,
        typer.Argument(metavar="[SRC]", help="The same data, where they lie elsewhere now.", show_default=False),
    ] = None,
    *,
    max_sweeps: Annotated[
        int | None, typer.Option(metavar="N", help="A new limit, to continue a finished run.")
    ] = None,
    tol: Annotated[float | None, typer.Option(metavar="X", help="A new tolerance.")] = None,
    time_limit: Annotated[float | None, typer.Option(metavar="SECONDS", help="A new limit, counted from now.")] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Sweeps between checkpoints. Default: one a minute.")
    ] = None,
    data: Data,
    machine: OnAny,
    output: Output,
) -> None:
    """Continue an interrupted fit exactly as if it had never stopped.

    A finished run goes on with a larger --max-sweeps, a smaller --tol or a --time-limit.
    """
    from nmfkit import api
    from nmfkit.cli.faults import stopped_saying
    from nmfkit.cli.progress import watching
    from nmfkit.cli.summary import tell_fit, what_is_left
    from nmfkit.errors import UsageError
    from nmfkit.sources.uri import is_remote

    before = api.load(run, storage_options=data.storage_options if is_remote(run) else None)
    changes = {"max_sweeps": max_sweeps, "tol": tol, "time_limit": time_limit}
    problem = before.problem.replace(**{name: value for name, value in changes.items() if value is not None})
    if faults := problem.faults():
        raise UsageError("\n".join(faults))
    with watching(quiet=output.quiet, most=problem.max_sweeps) as meter:  # noqa: SIM117
        with stopped_saying(lambda: what_is_left(run, meter)):
            result = api.resume(
                run,
                src,
                max_sweeps=max_sweeps,
                tol=tol,
                time_limit=time_limit,
                checkpoint_every=checkpoint_every,
                key=data.key,
                storage_options=data.storage_options,
                watcher=meter,
                **machine.given(),
            )
    tell_fit(result, meter, output, since=before.state.sweep)
