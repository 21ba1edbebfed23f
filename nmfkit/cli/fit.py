"""`nmfkit fit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nmfkit.cli.options import FitOptions, Output

if TYPE_CHECKING:
    from nmfkit.cli.config import Request

SOURCE = Annotated[
    str | None,
    typer.Argument(metavar="SRC", help="A matrix: .zarr, .npy, .npz, .mtx, .csv, .mat, a URI, sample:digits, …"),
]


def fit(src: SOURCE = None, *, options: FitOptions, output: Output) -> None:
    """Factorize a matrix: X (m, n) ≈ W (m, rank) H (rank, n), nonnegative.

    A part is written name, name:value or name:value,key=value; nmfkit plugins list shows what there is. The run
    is checkpointed as it goes: after Ctrl-C, nmfkit resume continues it exactly.
    """
    from nmfkit.cli.config import read_request
    from nmfkit.cli.faults import stopped_saying

    with stopped_saying(lambda: "interrupted; nothing was written"):
        from nmfkit.api import fit_problem
        from nmfkit.cli.progress import watching
        from nmfkit.cli.summary import tell_fit, what_is_left
        from nmfkit.executors.machine import Machine

        request = read_request(src, options, needs_out=True)
        Machine.ready(request.machine)  # before starting factors are read
    with watching(quiet=output.quiet, most=request.problem.max_sweeps) as meter:  # noqa: SIM117
        with stopped_saying(lambda: what_is_left(request.out, meter)):
            result = fit_problem(
                request.source,
                request.problem,
                **_starts(request),
                out=request.out,
                overwrite=request.overwrite,
                checkpoint_every=request.checkpoint_every,
                key=request.key,
                storage_options=request.storage_options,
                mask=request.mask,
                weights=request.weights,
                missing=request.missing,
                watcher=meter,
                **request.machine,
            )
    tell_fit(result, meter, output)


def _starts(request: Request) -> dict[str, Any]:
    """The starting factors that are named, read whole."""
    from nmfkit.sources import open_source

    starts: dict[str, Any] = {}
    for name, path in (("w", request.start_w), ("h", request.start_h)):
        if path is not None:
            source = open_source(path, dtype=request.problem.dtype)
            starts[name] = source.read(0, source.shape[0]).dense()
    return starts
