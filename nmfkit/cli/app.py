"""The application: its global options, and the commands in the order in which help lists them."""

from __future__ import annotations

from typing import Annotated

import typer

from nmfkit.cli import convert, explain, fit, inspect, plugins, resume, score, transform
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


for function in (
    fit.fit,
    resume.resume,
    transform.transform,
    score.score,
    inspect.inspect,
    explain.explain,
    convert.convert,
):
    command(app, function)

app.add_typer(plugins_app, name="plugins", help="What is installed: losses, rules, models, readers, …")
for function in (plugins.list_parts, plugins.info, plugins.check):
    command(plugins_app, function, name="list" if function is plugins.list_parts else None)
