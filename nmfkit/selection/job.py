"""One fit of a selection: a rank, a replicate, and whether part of the entries is hidden from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.check import Resolved, resolve
from nmfkit.errors import DataError, UsageError
from nmfkit.executors.machine import Machine, MachineOptions
from nmfkit.loop import State, Watcher
from nmfkit.problem import Problem, is_auto
from nmfkit.protocols import Source
from nmfkit.result import Result
from nmfkit.selection.agreement import labels
from nmfkit.selection.judge import held_out, loss_of
from nmfkit.selection.speckles import Speckles, Within
from nmfkit.sources.observed import elsewhere, observed

STARTS = 2
"""Starts of a fit with hidden entries, of which the one that fits the others best is judged: a poor local minimum says
nothing about the rank."""
APART = 1_000_003
"""What the seeds of two starts differ by."""
ROWS = 1000
"""Rows whose labels are kept, for the consensus matrix: more are sampled down to so many."""


@dataclass(frozen=True, order=True)
class Job:
    """A fit to do; `speckled` is one with hidden entries."""

    replicate: int
    rank: int
    speckled: bool

    @property
    def name(self) -> str:
        """What it is stored as."""
        return f"rank-{self.rank}-replicate-{self.replicate}-{'speckled' if self.speckled else 'whole'}"


@dataclass(frozen=True)
class Setting:
    """What all fits of a selection share: the problem but for rank and seed, the data, and where the work is done.

    `mask` and `missing` say which entries of `source` are known, as in `nmfkit.fit`; `share` of these is hidden.
    """

    problem: Problem
    source: Source
    share: float | None
    options: MachineOptions
    mask: Source | None = None
    missing: str = "none"

    @property
    def known(self) -> Source:
        """The data with what is known of them."""
        return observed(self.source, mask=self.mask, missing=self.missing)

    def resolved(self, problem: Problem) -> Resolved:
        """The problem with its parts, for all that is known."""
        return resolve(problem, elsewhere=elsewhere(self.known))

    def of(self, job: Job, start: int = 0) -> Problem:
        """The problem of one fit: replicate r starts from seed + r."""
        problem = self.problem.replace(ranks=(job.rank,), seed=self.problem.seed + job.replicate + APART * start)
        # What is exact for all entries may not be possible without some of them.
        return problem.replace(rule="auto") if job.speckled and not is_auto(problem.rule) else problem

    def speckles(self, replicate: int) -> Speckles:
        """The entries that a replicate hides, the same for every rank."""
        assert self.share is not None
        return Speckles(self.source.shape, self.share, self.problem.seed, replicate)

    def speckled(self, replicate: int) -> Source:
        """The data without what a replicate hides."""
        speckles = self.speckles(replicate)
        mask = speckles if self.mask is None else Within(self.mask, speckles)
        return observed(self.source, mask=mask, missing=self.missing)


@dataclass(frozen=True)
class Fitted:
    """What is kept of a fit: figures and components, `h` (rank, n), and the labels of sampled rows."""

    job: Job
    figures: Mapping[str, Any]
    h: Array = field(repr=False)
    labels: Array = field(repr=False)


class Stopped(BaseException):
    """Raised within a fit that is to end, because another one has failed or the user has interrupted them."""


class Quiet(Watcher):
    """Says nothing, and ends the fit after the present sweep once `halts` says so."""

    def __init__(self, halts: Callable[[], bool]) -> None:
        self.halts = halts

    def sweep(self, state: State) -> None:
        """Look whether to go on."""
        del state
        if self.halts():
            raise Stopped


def never() -> bool:
    """Nobody stops a fit on a worker but the cluster."""
    return False


def carry_out(setting: Setting, job: Job, halts: Callable[[], bool] = never) -> Fitted:
    """Do one fit, and judge it."""
    result, told = (_speckled if job.speckled else _whole)(setting, job, Quiet(halts))
    figures = {"objective": result.objective, "sweeps": result.state.sweep, "stopped_by": result.stopped_by, **told}
    return Fitted(job, figures, np.asarray(result.h), labels(_sampled(result), result.h))


def _speckled(setting: Setting, job: Job, watcher: Watcher) -> tuple[Result, dict[str, float]]:
    source = setting.speckled(job.replicate)
    try:
        tried = [_fit(setting, source, setting.of(job, start), watcher) for start in range(STARTS)]
    except DataError as error:
        raise DataError(
            f"without the {setting.share:.3g} of its entries that replicate {job.replicate} hides, {error}"
        ) from error
    result = min(tried, key=lambda r: r.objective)
    # The loss as it is: what is judged are entries, not blocks that some of them are missing from.
    parts, machine = resolve(setting.of(job)), Machine.of(setting.options)
    judged = held_out(result, setting.known, setting.speckles(job.replicate), parts, machine, watcher)
    return result, {"held_out": judged.loss, "plain": judged.plain, "entries": judged.entries}


def _whole(setting: Setting, job: Job, watcher: Watcher) -> tuple[Result, dict[str, float]]:
    problem, source = setting.of(job), setting.known
    result = _fit(setting, source, problem, watcher)
    if not (problem.reg_w or problem.reg_h):
        return result, {"loss": result.objective}
    return result, {"loss": loss_of(result, source, setting.resolved(problem), Machine.of(setting.options), watcher)}


def _fit(setting: Setting, source: Source, problem: Problem, watcher: Watcher) -> Result:
    from nmfkit.api import fit_problem

    result = fit_problem(source, problem, watcher=watcher, **setting.options)
    refuse_other_products(result)
    return result


def refuse_other_products(result: Result) -> None:
    """Raise `UsageError` unless X is fitted by W (m, r) H (r, n)."""
    if not {"w", "h"} <= set(result.factors):
        raise UsageError(
            f"components of replicates are compared for X ≈ W H, and this model has {', '.join(result.factors)}"
        )


def sampled_rows(m: int) -> Array:
    """Numbers of the rows whose labels are kept: all, or as many as `ROWS`, drawn once and for all."""
    if m <= ROWS:
        return np.arange(m)
    return np.sort(np.random.default_rng(m).choice(m, ROWS, replace=False))


def _sampled(result: Result) -> Array:
    rows = result.state.rows
    return np.concatenate([rows.read(int(i), int(i) + 1)["w"] for i in sampled_rows(result.shape[0])])
