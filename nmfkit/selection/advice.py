"""Which rank to take, and why, in plain words.

Held-out losses of two ranks are compared within each replicate, where both were judged on the same entries: the ratio
of the losses, in logarithms, so that no replicate outweighs the others. Ranks whose mean is within one standard error
of the least are all that held-out loss can tell; of these the highest is taken whose components the replicates find
again. A component that is found again and does no harm to the prediction is there; one too many is found elsewhere each
time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nmfkit.blocks import Array
from nmfkit.selection.table import RankRow, standard_error

SILHOUETTE, WEAKEST = 0.8, 0.2
"""Silhouettes of the components, on average and of the weakest one, from which on they count as found again: those of
SigProfilerExtractor (Islam et al., Cell Genomics 2(11), 2022)."""
EXACT = 1e-9
"""Held-out loss, over that of row and column means, below which a prediction is exact: the rest is rounding, or what
further sweeps would remove, and says nothing about the rank."""
FEW = 0.5
"""Part of the fits that should have converged, for ranks to be compared."""


@dataclass(frozen=True)
class Advice:
    """The recommended `rank`, `why`, and whether its components are `stable`.

    `candidates` are the ranks within one standard error of the least held-out loss, which is at rank `least`.
    """

    rank: int
    why: str
    stable: bool
    least: int
    candidates: tuple[int, ...]


def advise(rows: Sequence[RankRow]) -> Advice:
    """The advice that the table of a selection gives."""
    if not _logs(rows).size:
        return _without_losses(rows)
    best, candidates = within_one_error(rows)
    steady = [row for row in candidates if is_stable(row)]
    chosen = steady[-1] if steady else candidates[0]
    pieces = [_loss_clause(chosen, best), _stability_clause(chosen, rows), _beyond(chosen, rows), _limits(best, rows)]
    why = f"rank {chosen.rank}: " + "; ".join(piece for piece in pieces if piece)
    return Advice(chosen.rank, why, bool(steady), best.rank, tuple(row.rank for row in candidates))


def _without_losses(rows: Sequence[RankRow]) -> Advice:
    """The lowest rank, where no replicate tells one rank from another by hidden entries."""
    low = rows[0]
    why = (
        f"rank {low.rank}: held-out loss tells nothing, since no replicate hides an entry that the means of rows and "
        "columns do not predict exactly; so the lowest rank that was tried is taken"
    )
    return Advice(low.rank, why, is_stable(low), low.rank, (low.rank,))


def within_one_error(rows: Sequence[RankRow]) -> tuple[RankRow, list[RankRow]]:
    """The row of the least held-out loss, and the rows that are as good, by ascending rank."""
    logs = _logs(rows)
    best = int(np.argmin(np.mean(logs, axis=1)))
    found = []
    for row, log in zip(rows, logs, strict=True):
        above = log - logs[best]
        error = standard_error(above.tolist()) if len(above) > 1 else 0.0
        if float(np.mean(above)) <= error:
            found.append(row)
    return rows[best], found


def is_stable(row: RankRow) -> bool:
    """Whether the replicates of this rank find the same components; a single one cannot tell."""
    return row.replicates > 1 and row.silhouette >= SILHOUETTE and row.weakest >= WEAKEST


def _logs(rows: Sequence[RankRow]) -> Array:
    """Logarithms of the relative held-out losses (ranks, replicates), of the replicates that have one at every rank."""
    losses = np.array([row.losses for row in rows])
    told = np.isfinite(losses).all(axis=0)
    logs: Array = np.log(np.maximum(losses[:, told], EXACT))
    return logs


def _loss_clause(chosen: RankRow, best: RankRow) -> str:
    if chosen is best:
        return "its held-out loss is the least"
    return f"its held-out loss is within one standard error of the least (rank {best.rank})"


def _stability_clause(chosen: RankRow, rows: Sequence[RankRow]) -> str:
    if chosen.replicates < 2:
        return "a single replicate does not tell whether its components are found again"
    if is_stable(chosen):
        return f"replicates find the same components (silhouette {chosen.silhouette:.2f})"
    steady = [row for row in rows if row.rank < chosen.rank and is_stable(row)]
    lower = f"; up to rank {steady[-1].rank} they agree ({steady[-1].silhouette:.2f})" if steady else ""
    return f"but replicates disagree on its components (silhouette {chosen.silhouette:.2f}){lower}"


def _beyond(chosen: RankRow, rows: Sequence[RankRow]) -> str:
    """What speaks against the next rank."""
    above = next((row for row in rows if row.rank > chosen.rank), None)
    if above is None:
        return ""
    if is_stable(above) or above.replicates < 2:
        return f"at rank {above.rank} the held-out loss is higher"
    return f"at rank {above.rank} replicates disagree (silhouette {above.silhouette:.2f}, weakest {above.weakest:.2f})"


def _limits(best: RankRow, rows: Sequence[RankRow]) -> str:
    """What the ranks that were tried cannot tell."""
    if best.relative >= 1:
        return "yet no rank predicts hidden entries better than the means of rows and columns do"
    if best is rows[-1] and len(rows) > 1:
        return "the least held-out loss is at the highest rank tried, so try higher ones"
    if best is rows[0] and len(rows) > 1 and best.rank > 1:
        return "the least held-out loss is at the lowest rank tried, so try lower ones"
    return ""
