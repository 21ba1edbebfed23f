"""`nmfkit inspect`: a run, the output of transform, or any source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from nmfkit.cli.options import Data, Here, Output


def inspect(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A run, a selection, or any readable matrix.", show_default=False)
    ],
    *,
    top: Annotated[int, typer.Option(metavar="N", min=0, help="Features to show of each component.")] = 8,
    data: Data,
    machine: Here,
    output: Output,
) -> None:
    """Show what a path holds.

    A run: problem, status, objective, versions, and the features that weigh most in each component. A source:
    shape, type, sparsity, chunks and, from one read, its range and its zero rows and columns; what would spoil a
    fit is reported, with exit code 1.
    """
    attributes = _attributes(path, data.storage_options)
    if "transform_of" in attributes:
        from nmfkit.cli.inspect_run import show_transformed

        show_transformed(path, attributes, output)
    elif "selection" in attributes:
        from nmfkit.cli.inspect_selection import show_selection

        show_selection(path, attributes, output)
    elif "problem" in attributes:
        from nmfkit.cli.inspect_run import show_run

        show_run(path, top, data.storage_options, output)
    else:
        from nmfkit.cli.inspect_source import show_source

        show_source(path, data, machine, output)


def _attributes(path: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The attributes of the zarr group at `path`, none where there is no group."""
    from nmfkit.sources.files import is_zarr
    from nmfkit.sources.uri import is_remote

    if not is_remote(path) and not is_zarr(Path(path)):
        return {}
    from nmfkit.sources.zarr_store import Place

    try:
        return dict(Place(path, options=options).open().attrs.asdict())
    except Exception:
        return {}  # no group, or none that can be read: opening it as a source says why
