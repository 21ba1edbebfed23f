"""A pilot: the fit of a sample of rows, which gives the fit of all of them its start.

Sweeps over a few rows cost little, and their H is close to that of all rows wherever rows are alike. All rows are
then fitted to it in one read of X. Only the start differs: every sweep afterwards is over the whole of X.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from nmfkit.check import Resolved
from nmfkit.errors import UsageError
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.plan import Layout, Plan, make_plan, size_text
from nmfkit.loop import iterate
from nmfkit.probe import Probe, survey
from nmfkit.problem import Problem, part_text
from nmfkit.protocols import Executor, RowStore, Shared, Source, Sweep, UpdateRule
from nmfkit.sample import Picked
from nmfkit.sketch import Sketches
from nmfkit.sources.observed import Observed
from nmfkit.ways import model_of

ROWS_PER_COMPONENT = 20
"""Rows of a dense sample for each component."""
ENTRIES_PER_PARAMETER = 2
"""Stored entries of a sparse sample for each entry of H."""
LEAST_GAIN = 6
"""A pilot pays where X has at least so many times the rows of the sample."""
LEAST_WORK = 2**25
"""Multiplications of a sweep below which a fit is over before a pilot would have paid."""
LARGEST = 256 * 2**20
"""Bytes of the largest sample."""
PART = 1 / 8
"""Part of the memory allowed that the sample may take; while it is put together there are two of it."""
SWEEPS = 100
"""The most sweeps over the sample."""
TOL = 5e-3
"""A pilot ends when ten sweeps lower its objective by less than this fraction."""
BLOCKS = 4
"""Blocks and shards of the sample: the same anywhere, so that its sums are, too."""


@runtime_checkable
class Carries(Protocol):
    """a model whose state, fitted to some rows, starts a fit of others."""

    def carry(self, shared: Shared, sweep: Sweep, probe: Probe, dtype: Any, whole: int) -> tuple[RowStore, Shared]:
        """Rows fitted to the shared factors of `shared`, and the state to begin with.

        `whole` is the number of rows that all of this is for: what pays for them is worth compiling for some.
        """
        ...


@runtime_checkable
class HasBatch(Protocol):
    """a rule for data that are slow to read, which leaves a few rows in memory to another one."""

    @property
    def batch(self) -> UpdateRule:
        """That rule; what it fits must suit the model with this one."""
        ...


def share(problem: Problem, source: Source, carries: bool = True, memory: int | None = None) -> float:
    """The share of the rows of `source` that a pilot is to fit; 0 without one.

    Raises `UsageError` where so many rows are asked for that they do not fit `memory` bytes beside the fit, or where
    the model `carries` no fit of some rows on to others.
    """
    m, n = source.shape
    if problem.pilot not in ("auto", "none") and not carries:
        raise UsageError(
            f"model {part_text(problem.model)!r} cannot go on from the fit of some rows, and a pilot of "
            f"{problem.pilot} is asked for: leave --pilot out"
        )
    if problem.pilot == "none" or not carries or isinstance(source, Observed):
        return 0.0
    rank = max(problem.ranks)
    entries = m * n if source.nnz is None else source.nnz
    row = entries / m * np.dtype(source.dtype).itemsize
    if problem.pilot != "auto":
        rows = min(m, int(problem.pilot))
        if memory is not None and rows * row > memory * PART:
            raise UsageError(
                f"a pilot of {rows:,} rows takes {size_text(rows * row)}, and of --memory {size_text(memory)} it may "
                f"take {size_text(memory * PART)}: ask for at most {int(memory * PART / row):,} rows, or allow more"
            )
        return rows / m
    rows = ROWS_PER_COMPONENT * rank
    if source.nnz is not None:
        rows = max(rows, int(ENTRIES_PER_PARAMETER * rank * n * m / max(1, source.nnz)))
    most = LARGEST if memory is None else min(LARGEST, memory * PART)
    pays = LEAST_GAIN * rows <= m and entries * rank >= LEAST_WORK and rows * row <= most
    return rows / m if pays else 0.0


def pilot_share(resolved: Resolved, source: Source, plan: Plan) -> float:
    """The share of the rows that a pilot is to fit; a sketch is of all rows and takes one only if asked to."""
    problem, sketches = resolved.problem, isinstance(resolved.ingredients.rule, Sketches)
    carries = isinstance(resolved.model, Carries) and not (sketches and problem.pilot == "auto")
    return share(problem, source, carries, plan.given_memory)


def pilot_rows(resolved: Resolved, source: Source, plan: Plan) -> int:
    """The number of those rows."""
    return round(pilot_share(resolved, source, plan) * source.shape[0])


@dataclass(frozen=True)
class Pilot:
    """A fit of `resolved` to the rows of `sample`, of `rows` in all, on `threads` of this process."""

    resolved: Resolved
    sample: Picked
    rows: int
    threads: int

    def __call__(self, executor: Executor, shared: Shared, probe: Probe, dtype: Any) -> tuple[RowStore, Shared]:
        """Rows of all X fitted to the sample's factors, and the state to begin with."""
        model: Any = self.resolved.model
        start: tuple[RowStore, Shared] = model.carry(
            self._fitted(shared, dtype), executor.sweep, probe, dtype, self.rows
        )
        return start

    def _fitted(self, shared: Shared, dtype: Any) -> Shared:
        """The shared state after the sweeps over the sample, begun from `shared`."""
        model = self._model
        source = self.sample.source(self.rows)
        problem = self.resolved.problem.replace(max_sweeps=SWEEPS, tol=TOL, time_limit=None)
        with LocalExecutor(source, self._plan(source)) as executor:
            probe = survey(executor.sweep, source, empty=True)
            if not probe.nonzero:
                return shared
            rows, start = model.carry(executor.fetch(shared), executor.sweep, probe, dtype, self.rows)
            for state in iterate(model, executor, problem, rows, start):
                last = state
        fitted: Shared = last.current
        return fitted

    @property
    def _model(self) -> Any:
        """That of the fit, or the same with the rule that its own leaves a pilot to."""
        problem, ingredients = self.resolved.problem, self.resolved.ingredients
        if not isinstance(ingredients.rule, HasBatch) or not isinstance(problem.model, str):
            return self.resolved.model
        return model_of(problem, replace(ingredients, rule=ingredients.rule.batch))

    def _plan(self, source: Source) -> Any:
        model = self._model
        needs = {
            "width": sum(self.resolved.problem.ranks),
            "dtype": source.dtype,
            "elementwise": model.elementwise,
            "forms_product": model.forms_product,
        }
        size = source.shape[0] * source.shape[1] if source.nnz is None else 2 * source.nnz
        target = max(1, size * np.dtype(source.dtype).itemsize // BLOCKS)
        tile = make_plan(source, **needs, threads=1).tile_rows
        return make_plan(source, **needs, threads=self.threads, layout=Layout(target, BLOCKS, tile))


def piloted(
    resolved: Resolved, executor: Executor, probe: Probe, rows: RowStore, shared: Shared, *, given: bool
) -> tuple[RowStore, Shared]:
    """The start that a pilot finds from `shared`; the one there is, if that was `given` and is the better one."""
    pilot = Pilot(resolved, probe.sample, probe.shape[0], executor.plan.threads)
    dtype = executor.source.dtype
    found = pilot(executor, shared, probe, dtype)
    if given:
        before, after = (executor.advance(resolved.model, *start) for start in ((rows, shared), found))
        if not after.objective < before.objective:
            return rows, shared
    return found
