"""`nmfkit score`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from nmfkit.cli.options import Data, Known, OnAny, Output
from nmfkit.cli.resume import RUN

if TYPE_CHECKING:
    from nmfkit.clustering import Agreement
    from nmfkit.score import LevelScore

_OF_THE_FIT = ("layer's loss", "at the start", "loss / start", "weight")
"""Columns that only a run on its own data has."""


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
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE[:COLUMN]",
            help="Known classes of the rows, to compare their leading components with: lines, a table or an array.",
        ),
    ] = None,
    neighbours: Annotated[
        list[str] | None,
        typer.Option(
            metavar="K",
            help="Tell how far the K nearest rows stay near: trustworthiness, continuity. As 5 or 5,10; or repeated.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Rows that neighbours and labels are judged by, or all. Default: 3,000 where there are more.",
            show_default=False,
        ),
    ] = None,
    data: Data,
    known: Known,
    machine: OnAny,
    output: Output,
) -> None:
    """Judge a run: objective, relative error, sparsity of the factors, share of each component.

    The relative error is ‖X − WH‖ / ‖X‖ for a quadratic loss. For any other it is the loss of WH over that of the
    product of X's row and column sums, r cᵀ / Σx: 0 is exact, 1 is no better than knowing the sums. Sparsity is
    Hoyer's, (√p − ‖v‖₁ / ‖v‖₂) / (√p − 1) for a column v of W or a row of H with p entries, averaged over the
    components: 0 is all entries alike, 1 a single one. The share of component k is the sum of the entries of
    w_k h_k over that of all components. Of a model with levels, all of this is told of each level; a layer's loss is
    that of what it factorizes against its own two factors, beside what it was at the start, layer by layer.

    With --labels, rows grouped by the component that weighs most in them are compared with known classes: accuracy,
    the part that falls into the class that its group is matched to, one class a group; normalized mutual information
    (arithmetic mean); adjusted Rand index; purity; adjusted mutual information. So are clusters of the rows of W by
    k-means, as many as classes; and how often the 5 nearest rows of W tell the class of a row, by cross-validation.

    With --neighbours, trustworthiness is 1 where the K nearest rows in W are the nearest in X, continuity the same with
    W and X exchanged; less by how far the others are away, in ranks.
    """
    from nmfkit.cli.embedding import of_embedding
    from nmfkit.cli.progress import watching
    from nmfkit.cli.text import emit, facts, number, percent, table
    from nmfkit.score import score as judge

    with watching(quiet=output.quiet) as meter:
        found = judge(
            run,
            src,
            labels=labels,
            neighbours=neighbours,
            sample=sample,
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
        if found.clustering is not None:
            print(f"{_of_groups(found.clustering)}\n")
        if found.embedding is not None:
            print(f"{of_embedding(found.embedding)}\n")
        if found.levels:
            print(_of_levels(found.levels))
            return
        order = sorted(range(len(found.shares)), key=lambda k: -found.shares[k])
        print(table([("component", "share"), *((str(k), percent(found.shares[k])) for k in order)]))


def _of_groups(found: Agreement) -> str:
    """The measures, and what they are of."""
    from nmfkit.cli.text import facts

    unlabelled = f"; {found.unlabelled:,} without a class left out" if found.unlabelled else ""
    unclustered = f"; {found.unclustered:,} in no group, taken as one" if found.unclustered else ""
    lines = [
        ("accuracy", f"{found.accuracy:.4f}"),
        ("NMI", f"{found.nmi:.4f}"),
        ("adjusted Rand", f"{found.ari:.4f}"),
        ("purity", f"{found.purity:.4f}"),
        ("AMI", f"{found.ami:.4f}"),
        ("compared", f"{found.compared:,} rows{unlabelled}{unclustered}"),
        ("groups", f"{found.clusters:,}, and {found.classes:,} classes"),
        *(("note", note) for note in found.notes),
    ]
    return f"  Groups of rows and known classes\n{facts(lines, '  ')}"


def _of_levels(levels: tuple[LevelScore, ...]) -> str:
    """A line for each level, then one for each component with its share in each."""
    from nmfkit.cli.text import percent, table

    own = levels[0].layer_loss is not None
    head = ("level", "components", "loss", "relative error", "sparsity of components", *(_OF_THE_FIT if own else ()))
    indices = range(max(at.rank for at in levels))
    shares = ([str(k), *(percent(at.shares[k]) if k < at.rank else "" for at in levels)] for k in indices)
    named = ["component", *(f"share in level {at.level}" for at in levels)]
    return f"{table([head, *map(_of_level, levels)])}\n\n{table([named, *shares])}"


def _of_level(at: LevelScore) -> list[str]:
    from nmfkit.cli.text import number, percent

    told = [str(at.level), str(at.rank), number(at.loss), f"{at.relative_error:.4g}", f"{at.sparsity:.3f}"]
    if at.layer_loss is None or at.layer_loss_at_start is None or at.ratio is None or at.weight is None:
        return told
    return [*told, number(at.layer_loss), number(at.layer_loss_at_start), percent(at.ratio), number(at.weight)]
