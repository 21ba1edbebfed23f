"""The application: its global options, and the commands in the order in which help lists them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from nmfkit.cli import (
    consensus,
    convert,
    explain,
    export,
    fit,
    inspect,
    plot,
    plugins,
    report,
    resume,
    score,
    select_rank,
    transform,
    watch,
)
from nmfkit.cli.command import command


def _version(wanted: bool) -> None:
    if wanted:
        from nmfkit import __version__

        print(f"nmfkit {__version__}")
        raise typer.Exit


def _app(**settings: object) -> typer.Typer:
    return typer.Typer(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        **settings,  # type: ignore[arg-type]
    )


app = _app(
    epilog="A first look: nmfkit fit sample:digits --rank 10 -o digits.zarr. Exit codes: 0 done, 1 failed, 2 usage, "
    "130 interrupted. Every command takes --json, -q and -v.",
)
plugins_app = _app()


@app.callback()
def nmfkit(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Nonnegative matrix factorization X ≈ W H of matrices of any size."""


COMMANDS: dict[str, Callable[..., None]] = {
    "fit": fit.fit,
    "resume": resume.resume,
    "watch": watch.watch,
    "transform": transform.transform,
    "score": score.score,
    "inspect": inspect.inspect,
    "select-rank": select_rank.select_rank,
    "consensus": consensus.consensus,
    "report": report.report,
    "plot": plot.plot,
    "export": export.export,
    "explain": explain.explain,
    "convert": convert.convert,
}
PLUGINS: dict[str, Callable[..., None]] = {
    "list": plugins.list_parts,
    "info": plugins.info,
    "check": plugins.check,
}
for name, function in COMMANDS.items():
    command(app, name, function)
app.add_typer(plugins_app, name="plugins", help="What is installed: losses, rules, models, readers, …")
for name, function in PLUGINS.items():
    command(plugins_app, name, function)
