"""`nmfkit score`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from nmfkit.cli.options import Anywhere, Data, Known, Output
from nmfkit.cli.resume import RUN


def score(
    run: RUN,
    src: Annotated[
        str | None,
        typer.Argument(
            metavar="[SRC]",
            help="Other data: their rows are fitted to the run's components first. Default: the run's own.",
            show_default=False,
        ),
    ] = None,
    *,
    data: Data,
    known: Known,
    machine: Anywhere,
    output: Output,
) -> None:
    """Judge a run: objective, relative error, sparsity of the factors, share of each component.

    The relative error is ‖X − WH‖ / ‖X‖ for a quadratic loss. For any other it is the loss of WH over that of the
    product of X's row and column sums, r cᵀ / Σx: 0 is exact, 1 is no better than knowing the sums. Sparsity is
    Hoyer's, (√p − ‖v‖₁ / ‖v‖₂) / (√p − 1) for a column v of W or a row of H with p entries, averaged over the
    components: 0 is all entries alike, 1 a single one. The share of component k is the sum of the entries of
    w_k h_k over that of all components.
    """
    from nmfkit.cli.progress import watching
    from nmfkit.cli.text import emit, facts, number, percent, table
    from nmfkit.score import score as judge

    with watching(quiet=output.quiet) as meter:
        found = judge(
            run,
            src,
            key=data.key,
            storage_options=data.storage_options,
            **asdict(known),
            watcher=meter,
            **machine.given(),
        )
    if output.json:
        emit(found.as_dict())
    elif output.speaks:
        lines = [("objective", number(found.objective))] if found.objective is not None else []
        lines += [
            ("loss", number(found.loss)),
            ("relative error", f"{found.relative_error:.4g}   ({found.measure})"),
            *((f"sparsity of {name.upper()}", f"{value:.3f}") for name, value in found.sparsity.items()),
        ]
        print(f"{run} on {found.source}\n\n{facts(lines, '  ')}\n")
        order = sorted(range(len(found.shares)), key=lambda k: -found.shares[k])
        print(table([("component", "share"), *((str(k), percent(found.shares[k])) for k in order)]))
