"""Choosing a rank: many fits, one table, and a recommendation."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Unpack

from nmfkit.arguments import make_problem, refuse_odd_counts
from nmfkit.errors import UsageError
from nmfkit.executors.machine import MachineOptions
from nmfkit.loop import Watcher
from nmfkit.problem import Problem
from nmfkit.protocols import Source
from nmfkit.selection.advice import FEW, Advice, advise
from nmfkit.selection.job import ROWS, Job
from nmfkit.selection.ranks import parse_ranks
from nmfkit.selection.speckles import MOST
from nmfkit.selection.table import RankRow, rows_of
from nmfkit.selection.work import Data, Work, prepared
from nmfkit.sources.observed import elsewhere

SHARE = 0.1
"""Part of the entries that is hidden, unless a sparse matrix stores fewer."""
SWEEPS = 1000
"""Most sweeps of each fit: ranks are not to be compared by how far their fits have come."""


@dataclass(frozen=True)
class Selection:
    """What `select_rank` found: a `table` with a row for each rank, the recommended `rank`, and `why`, in a sentence.

    `share` is the part of the entries that was hidden, `notes` what is worth knowing besides, `path` where the fits
    are kept.
    """

    source: str
    table: tuple[RankRow, ...]
    advice: Advice
    share: float
    path: str | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def rank(self) -> int:
        """The recommended rank."""
        return self.advice.rank

    @property
    def why(self) -> str:
        """Why that one."""
        return self.advice.why

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return {
            "source": self.source,
            "rank": self.rank,
            "why": self.why,
            "stable": self.advice.stable,
            "share": self.share,
            "table": [row.as_dict() for row in self.table],
            "notes": list(self.notes),
            "out": self.path,
        }

    def plot(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Draw held-out loss, stability and objective over the rank, as png, svg or pdf; needs the extra `plot`."""
        from nmfkit.selection.picture import draw

        draw(self, path, overwrite=overwrite)


def select_rank(
    x: Any,
    ranks: str | Sequence[int],
    *,
    replicates: int = 10,
    share: float | None = None,
    loss: Any = "frobenius",
    rule: Any = "auto",
    reg_w: Any = (),
    reg_h: Any = (),
    init: Any = "auto",
    pilot: str | int = "auto",
    seed: int = 0,
    max_sweeps: int = SWEEPS,
    tol: float = 1e-4,
    dtype: str | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    key: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    mask: Any = None,
    missing: str = "none",
    watcher: Watcher | None = None,
    **machine: Unpack[MachineOptions],
) -> Selection:
    """Fit X (m, n) at each of `ranks` (`"2:20"`, or numbers), `replicates` times, and recommend one.

    Every replicate is fitted to all entries, and twice to all but a random `share` of them (default: 0.1; of a sparse
    matrix at most as many as it stores), on which the better one is judged. Replicate r starts from seed + r, and
    hides the same entries at every rank. With `out`, a folder, each fit is kept there as it ends; the same call goes
    on where it was interrupted, and further ranks or replicates join. Other arguments as in `nmfkit.fit`. Raises
    `UsageError` before any work, `StoreError` where `out` holds fits of something else.
    """
    chosen = parse_ranks(ranks)
    refuse_odd_counts(replicates=replicates)
    refuse_odd_share(share)
    problem = make_problem(
        ranks=chosen[-1:], loss=loss, rule=rule, reg_w=reg_w, reg_h=reg_h, init=init, pilot=str(pilot), seed=seed,
        max_sweeps=max_sweeps, tol=tol, dtype=dtype,
    )  # fmt: skip
    return select_problem(
        Data(x, key, storage_options, mask, missing), problem, chosen, replicates=replicates, share=share, out=out,
        overwrite=overwrite, watcher=watcher, **machine,
    )  # fmt: skip


def select_problem(
    data: Data,
    problem: Problem,
    ranks: Sequence[int],
    *,
    replicates: int,
    share: float | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    watcher: Watcher | None = None,
    **machine: Unpack[MachineOptions],
) -> Selection:
    """`select_rank` for a `Problem` made already."""
    work_on = partial(prepared, out=out, overwrite=overwrite, watcher=watcher, machine=machine)
    with work_on(data, problem, partial(share_of, share)) as work:
        store = work.fit([Job(i, rank, kind) for i in range(replicates) for rank in ranks for kind in (False, True)])
        rows = rows_of(store, ranks, replicates, work.scale())
        selection = Selection(
            source=work.setting.source.uri,
            table=tuple(rows),
            advice=advise(rows),
            share=work.setting.share or 0.0,
            path=None if out is None else str(store.path),
            notes=tuple(_notes(work, rows)),
        )
        store.update(status="done", rank=selection.rank, why=selection.why)
    return selection


def refuse_odd_share(share: Any) -> None:
    """Raise `UsageError` for what is no share of the entries that may be hidden."""
    if share is None:
        return
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= MOST:
        raise UsageError(f"share {share!r} is not a number > 0 and ≤ {MOST}: the part of the entries to hide")


def share_of(share: float | None, source: Source) -> float:
    """The part of the entries to hide: of a sparse matrix no more than it stores, since each of them costs as much."""
    if share is not None:
        return float(share)
    if source.nnz is None or elsewhere(source) == 0:  # what is not stored is missing: it costs nothing
        return SHARE
    m, n = source.shape
    return min(SHARE, float(f"{max(1, source.nnz) / (m * n):.3g}"))


def _notes(work: Work, rows: Sequence[RankRow]) -> list[str]:
    """What is good to know of the figures."""
    (m, n), share, found = work.setting.source.shape, work.setting.share or 0.0, []
    if work.setting.source.is_sparse and share < SHARE:
        found.append(
            f"{share:.3g} of the entries are hidden in each replicate, about {share * m * n:,.0f}: as many as the "
            "matrix stores, since each of them takes the time of a stored one"
        )
    if m > ROWS:
        found.append(f"cophenetic correlation and dispersion are of {ROWS:,} rows drawn at random")
    slow = [str(row.rank) for row in rows if row.converged < FEW]
    if slow:
        found.append(
            f"at rank {', '.join(slow)} most fits stopped at --max-sweeps {work.setting.problem.max_sweeps}, before "
            "they had converged; more sweeps would tell more"
        )
    return found
