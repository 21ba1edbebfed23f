"""`nmfkit watch`."""

from __future__ import annotations

from typing import Annotated

import typer

from nmfkit.cli.options import STORAGE_OPTION, Data, Output

RUN = Annotated[
    str, typer.Argument(metavar="RUN.zarr", help="A run, or where a fit will write one.", show_default=False)
]


def watch(
    run: RUN,
    *,
    once: Annotated[bool, typer.Option("--once", help="Take one look.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="With --json: one line of JSON whenever something has changed.")
    ] = False,
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Give up when there is no sign of life for so long.")
    ] = 300.0,
    storage_option: Annotated[list[str] | None, STORAGE_OPTION] = None,
    output: Output,
) -> None:
    """Watch a fit that runs elsewhere, here or on another machine, until it ends.

    Shows the sweep, the objective and its course, the pace, the most time that is left, and when the last sign of
    life came. Exit code 0 when the fit is done; 1 when it was interrupted, its process is gone, or nothing is heard
    of it for long. With --once or --json, one look, and 0 whatever it shows.
    """
    from nmfkit.cli.text import emit
    from nmfkit.cli.watch_loop import follow_in_json, follow_in_words
    from nmfkit.cli.watch_text import as_json, in_words
    from nmfkit.errors import UsageError
    from nmfkit.sources.uri import is_remote
    from nmfkit.watch import look

    if once and follow:
        raise UsageError("--once takes one look and --follow many; choose one")
    options = Data(storage_option=storage_option).storage_options if is_remote(run) else None
    if output.json and follow:
        follow_in_json(run, options, patience)
    elif output.json:
        emit(as_json(look(run, storage_options=options)))
    elif once:
        found = look(run, storage_options=options)
        if output.speaks:
            print(in_words(found))
    else:
        follow_in_words(run, options, patience, output)
