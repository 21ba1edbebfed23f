"""One robust factorization from many replicates of one rank."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from nmfkit.arguments import make_problem, refuse_odd_counts
from nmfkit.blocks import Array
from nmfkit.errors import StoreError, UsageError
from nmfkit.executors.machine import MachineOptions
from nmfkit.loop import Watcher
from nmfkit.origin import IN_MEMORY
from nmfkit.problem import Problem
from nmfkit.result import Result
from nmfkit.selection.density import Clusters, clustered
from nmfkit.selection.job import Job
from nmfkit.selection.select import SWEEPS
from nmfkit.selection.store import SelectionStore
from nmfkit.selection.work import Data, Work, prepared
from nmfkit.sources.staging import check_output

REPLICATES = 50
"""Replicates that are fitted, unless there are some already."""
ENCODED, CLOSE = 1000, 1e-6
"""Most updates of W for the consensus H, and the change below which it needs no more."""


@dataclass(frozen=True)
class Consensus:
    """The `result`, W and H with the objective of exactly this pair, and the `clusters` that H is made of.

    `replicates` were clustered; those are kept at `replicates_at`, where they are kept.
    """

    result: Result
    clusters: Clusters = field(repr=False)
    replicates: int
    density_threshold: float
    replicates_at: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return {**self.result.attributes["consensus"], "objective": self.result.objective, "out": self.result.path}

    def plot(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Draw the histogram of the local densities, to choose a threshold by; needs the extra `plot`."""
        from nmfkit.selection.picture import draw_density

        draw_density(self.clusters.density, self.density_threshold, path, overwrite=overwrite)


def consensus(
    x: Any,
    rank: int,
    *,
    selection: str | os.PathLike[str] | None = None,
    replicates: int | None = None,
    density_threshold: float = 0.5,
    neighbourhood: float = 0.3,
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
) -> Consensus:
    """One factorization of X (m, n) from the components that `replicates` of one `rank` have in common.

    Components of all replicates, scaled to length 1, are dropped where their mean distance to as many neighbours as
    `neighbourhood` of the replicates exceeds `density_threshold`; k-means makes `rank` clusters of the others. H holds
    the clusters' medians, each with sum 1, and W is fitted to it. With `selection`, a folder of `select_rank` or of
    another consensus, the replicates there are used, and its problem: `x` may then be None, and other arguments of the
    fit are ignored. `out` is an ordinary run; the replicates are kept beside it. Raises `DataError` where too few
    components are alike.
    """
    refuse_odd(rank, replicates, density_threshold, neighbourhood)
    if selection is None:
        problem = make_problem(
            rank=rank, loss=loss, rule=rule, reg_w=reg_w, reg_h=reg_h, init=init, pilot=str(pilot), seed=seed,
            max_sweeps=max_sweeps, tol=tol, dtype=dtype,
        )  # fmt: skip
        data = Data(x, key, storage_options, mask, missing)
    else:
        problem, data = stored_problem(selection, rank, Data(x, key, storage_options, mask, missing))
    return consensus_problem(
        data, problem, selection=selection, replicates=replicates, density_threshold=density_threshold,
        neighbourhood=neighbourhood, out=out, overwrite=overwrite, watcher=watcher, **machine,
    )  # fmt: skip


def refuse_odd(rank: Any, replicates: Any, density_threshold: Any, neighbourhood: Any) -> None:
    """Raise `UsageError` with all that is wrong with these."""
    refuse_odd_counts(rank=rank, replicates=replicates)
    faults = []
    if not 0 < density_threshold <= 2:
        faults.append(f"density-threshold {density_threshold!r} is not > 0 and ≤ 2; 2 keeps every component")
    if not 0 < neighbourhood <= 1:
        faults.append(f"neighbourhood {neighbourhood!r} is not > 0 and ≤ 1: the share of replicates")
    if replicates is not None and replicates < 2:
        faults.append("a consensus needs 2 replicates or more")
    if faults:
        raise UsageError("; ".join(faults))


def stored_problem(selection: str | os.PathLike[str], rank: int, given: Data) -> tuple[Problem, Data]:
    """What the fits of a selection are of: its problem at `rank`, and its data where they are not `given` again."""
    store = SelectionStore.open(str(selection))
    stored = store.attributes()["source"]
    problem = Problem.from_stored({**store.identity()["problem"], "ranks": [rank]})
    if given.x is not None:
        return problem, given
    if stored["uri"] == IN_MEMORY:
        raise StoreError(f"{selection} is of data in memory; pass the same data again: nmfkit.consensus(X, …)")
    known = stored.get("observed") or {}
    return problem, replace(
        given, x=stored["uri"], key=given.key or stored.get("key"), mask=given.mask or known.get("mask"),
        missing=known.get("missing", "none"),
    )  # fmt: skip


def consensus_problem(
    data: Data,
    problem: Problem,
    *,
    selection: str | os.PathLike[str] | None = None,
    replicates: int | None = None,
    density_threshold: float = 0.5,
    neighbourhood: float = 0.3,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    watcher: Watcher | None = None,
    **machine: Unpack[MachineOptions],
) -> Consensus:
    """`consensus` for a `Problem` made already."""
    rank = problem.ranks[0]
    kept = selection if selection is not None else None if out is None else beside(out)
    if out is not None:
        check_output(str(out), overwrite=overwrite, keep=[None if kept is None else str(kept)])
    count = replicates or _there(selection, rank) or REPLICATES
    # Replicates are never replaced: those of something else are refused, whatever may be overwritten.
    with prepared(data, problem, None, out=kept, overwrite=False, watcher=watcher, machine=machine) as work:
        jobs = [Job(i, rank, False) for i in range(count)]
        store = work.fit(jobs)
        components = [store.get(job).h for job in jobs]
        clusters = clustered(components, threshold=density_threshold, neighbourhood=neighbourhood)
        at = None if kept is None else str(store.path)
        result = _refitted(work, clusters.h, problem)
    about = {
        "replicates": count,
        "replicates_at": at,
        "seeds": [problem.seed, problem.seed + count - 1],
        "density_threshold": density_threshold,
        "neighbourhood": neighbourhood,
        "components": len(clusters.members),
        "dropped": int(np.sum(~clusters.kept)),
        "sizes": list(clusters.sizes),
        "silhouette": list(clusters.silhouette),
    }
    result = replace(result, attributes={**result.attributes, "consensus": about})
    if out is not None:
        result.save(out, overwrite=overwrite)
        result = replace(result, path=str(out))
    return Consensus(result, clusters, count, density_threshold, at)


def beside(out: str | os.PathLike[str]) -> Path:
    """Where the replicates of a consensus at `out` are kept: `consensus.zarr` has `consensus.replicates.zarr`."""
    path = Path(out)
    return path.with_name(f"{path.name.removesuffix('.zarr')}.replicates.zarr")


def _there(selection: str | os.PathLike[str] | None, rank: int) -> int:
    """How many replicates of `rank` a selection holds, one after the other."""
    if selection is None:
        return 0
    store, count = SelectionStore(str(selection)), 0
    while store.has(Job(count, rank, False)):
        count += 1
    return count


def _refitted(work: Work, h: Array, problem: Problem) -> Result:
    """W fitted to `h`, which stays as it is, as a run of no sweeps: its objective is that of exactly this pair."""
    from nmfkit.api import fit_problem, transform

    # A rule of one's own might begin by changing H.
    still = problem.replace(max_sweeps=0, pilot="none", rule="auto", time_limit=None)
    source, options = work.setting.known, work.machine.options
    work.watcher.stage("refitting W")
    first = fit_problem(source, still, h=h, watcher=Watcher(), **options)
    w = transform(first, source, missing="none", max_sweeps=ENCODED, tol=CLOSE, watcher=Watcher(), **options)
    return fit_problem(source, still, w=np.asarray(w), h=h, watcher=Watcher(), **options)
