"""`nmfkit plugins`: what is installed, and whether it keeps its contract."""

from __future__ import annotations

from typing import Annotated

import typer

from nmfkit.cli.options import Output

KIND = Annotated[
    str | None,
    typer.Option("--kind", metavar="KIND", help="Only loss, regularizer, rule, model, initializer or reader."),
]


def list_parts(*, kind: KIND = None, output: Output) -> None:
    """List every part on offer with its distribution, and the plugins that are broken."""
    from nmfkit.cli.plugins_list import show

    show(kind, output)


def info(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A part, such as kl.", show_default=False)],
    *,
    output: Output,
) -> None:
    """Show a part: what it is, its parameters and what it offers to others."""
    from nmfkit.cli.plugins_info import show

    show(name, output)


def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Parts, plugins or distributions. Default: every part that is not built in.",
            show_default=False,
        ),
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="The built-in parts, too.")] = False,
    output: Output,
) -> None:
    """Run the laws that every part of its kind must keep; exit code 1 if one fails."""
    from nmfkit.cli.plugins_check import show

    show(names or [], everything, output)
