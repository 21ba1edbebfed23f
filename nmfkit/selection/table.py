"""What the fits of each rank say, a row a rank."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from nmfkit.selection.agreement import consensus, cophenetic, dispersion
from nmfkit.selection.job import Fitted, Job
from nmfkit.selection.matching import gathered, silhouettes, similarity
from nmfkit.selection.store import SelectionStore


@dataclass(frozen=True)
class RankRow:
    """One rank of a selection.

    Of the fits to all entries: the least `objective`, of the replicate with `best_seed`; its `relative_error` as
    `nmfkit score` defines it; `decrease`, the part of the objective at the rank before that is gone. `similarity`,
    `silhouette` and `weakest` say how well the components of the replicates agree, `cophenetic` and `dispersion` how
    well the sampled rows' groups do; 1 is perfect. Of the fits with hidden entries: the loss of a hidden entry,
    `held_out`, on average; `relative`, over that of the product of row and column means; and `standard_error` of that.
    NaN where there is nothing to tell.
    """

    rank: int
    replicates: int
    objective: float
    best_seed: int
    relative_error: float
    decrease: float
    held_out: float
    relative: float
    standard_error: float
    similarity: float
    silhouette: float
    weakest: float
    cophenetic: float
    dispersion: float
    converged: float
    losses: tuple[float, ...] = field(default=(), repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def rows_of(
    store: SelectionStore, ranks: Sequence[int], replicates: int, reference: Mapping[str, Any]
) -> list[RankRow]:
    """The table of what is stored; `reference` holds the loss that relative errors are measured by, and the seed."""
    rows: list[RankRow] = []
    for rank in ranks:
        whole = [store.get(Job(i, rank, False)) for i in range(replicates)]
        speckled = [store.get(job) for i in range(replicates) if store.has(job := Job(i, rank, True))]
        rows.append(_row(rank, whole, speckled, reference, rows[-1].objective if rows else math.nan))
    return rows


def _row(
    rank: int, whole: Sequence[Fitted], speckled: Sequence[Fitted], reference: Mapping[str, Any], before: float
) -> RankRow:
    objectives = [float(fitted.figures["objective"]) for fitted in whole]
    best = whole[int(np.argmin(objectives))]
    ratio = best.figures["loss"] / reference["loss"] if reference["loss"] > 0 else math.nan
    components = [fitted.h for fitted in whole]
    width = silhouettes(gathered(components))
    c = consensus([fitted.labels for fitted in whole])
    losses = [_relative(fitted.figures) for fitted in speckled]
    told = [loss for loss in losses if math.isfinite(loss)]
    entries = sum(fitted.figures["entries"] for fitted in speckled)
    return RankRow(
        rank=rank,
        replicates=len(whole),
        objective=min(objectives),
        best_seed=reference["seed"] + best.job.replicate,
        relative_error=math.sqrt(max(0.0, ratio)) if reference["quadratic"] else ratio,
        decrease=(before - min(objectives)) / before if before > 0 else math.nan,
        held_out=sum(fitted.figures["held_out"] for fitted in speckled) / entries if entries else math.nan,
        relative=float(np.mean(told)) if told else math.nan,
        standard_error=standard_error(told),
        similarity=similarity(components),
        silhouette=float(np.mean(width)),
        weakest=float(np.min(width)),
        cophenetic=cophenetic(c),
        dispersion=dispersion(c),
        converged=float(np.mean([fitted.figures["stopped_by"] == "converged" for fitted in (*whole, *speckled)])),
        losses=tuple(losses),
    )


def _relative(figures: Mapping[str, Any]) -> float:
    return figures["held_out"] / figures["plain"] if figures["plain"] > 0 else math.nan


def standard_error(values: Sequence[float]) -> float:
    """s / √n of the mean of `values`; NaN for fewer than two."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
