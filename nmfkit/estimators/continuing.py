"""The estimator of a model that goes on training: batches of rows come one by one, each for one sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from nmfkit.api import Warner
from nmfkit.arguments import make_problem
from nmfkit.check import Resolved, check_data, check_source, resolve
from nmfkit.estimators.base import ModelEstimator
from nmfkit.estimators.errors import ParameterError, as_value_errors
from nmfkit.estimators.inputs import matrix_of
from nmfkit.executors.machine import Machine
from nmfkit.executors.open import executing
from nmfkit.executors.rows import ResidentRows
from nmfkit.loop import Record, State, iterate
from nmfkit.probe import Expected, Probe, survey
from nmfkit.problem import Problem
from nmfkit.protocols import Continues, Executor, Shared, Source
from nmfkit.result import Result
from nmfkit.sources.observed import elsewhere, open_observed


class ContinuingEstimator(ModelEstimator):
    """A transformer X (m, n) → W (m, n_components) that `partial_fit` trains on with rows that come later."""

    def partial_fit(self, X: Any, y: Any = None) -> Any:
        """Go on by one sweep over the rows of X (rows, n), from where the training stands. Returns the estimator.

        The first call begins as `fit` does, unless the estimator is fitted already: what the model learns of the data
        before its first sweep, it learns of these rows, and keeps it. `tol`, `max_iter` and what a model does at the
        end of a fit have no part in it. Sets `n_steps_`, the number of calls so far; `fit` starts anew. Raises
        `ParameterError` where parameters of the model have changed since.
        """
        del y
        with as_value_errors():
            place = Machine.ready(self._machine())
            before: Result | None = self.__dict__.get("_encoder")
            x = matrix_of(self, X, reset=before is None)
            problem = make_problem(**self._fields(x.shape, None), **self._common())
            if before is not None:
                _refuse_others(resolve(problem).problem, before.problem)
            dtype = None if before is None else _dtype_of(before)
            source = open_observed(x, dtype=dtype or problem.dtype, missing=self.missing)
            made = advanced(before, source, problem, place, self.__dict__.get("n_steps_", 0))
        self._forget_fit()
        self._encoder = made
        self.n_components_, self.n_steps_ = made.problem.ranks[-1], made.state.sweep
        if "h" in (factors := made.model.factors(made.state.current)):
            self.components_ = factors["h"]
        return self

    def _note(self, result: Result, x: Any) -> None:
        super()._note(result, x)
        self.__dict__.pop("n_steps_", None)


def advanced(before: Result | None, source: Source, problem: Problem, machine: Machine, steps: int) -> Result:
    """What `problem` comes to by one sweep over `source` after `before`, or after its start; it has no rows.

    Its sweeps are the calls so far, `steps` and this one. Raises `DataError` for what the source holds.
    """
    resolved = resolve(problem.replace(max_sweeps=1), elsewhere=elsewhere(source))
    check_source(resolved, source, others=before is not None)
    with executing(source, resolved, machine, watcher=Warner()) as executor:
        probe = survey(executor.sweep, source, empty=before is not None, expected=Expected.by(resolved.model))
        if probe.nonzero:
            check_data(resolved, probe, source.dtype)
        first = _started(resolved, executor, probe, source) if before is None else before.state.following
        shared = cast(Continues, resolved.model).onto(first, source.shape[0])
        state = next(iterate(resolved.model, executor, resolved.problem, ResidentRows({}), shared))
        none, after = ResidentRows(state.rows.read(0, 0)), executor.fetch(state.following)
    record = Record(steps + 1, state.objective, state.history[-1].seconds)
    return Result(resolved.problem, State(none, after, after, (record,)), (0, source.shape[1]), {})


def _started(resolved: Resolved, executor: Executor, probe: Probe, source: Source) -> Shared:
    seed = resolved.problem.seed
    return resolved.model.start(resolved.initializer, executor.sweep, probe, seed, source.dtype)[1]


def _dtype_of(result: Result) -> str:
    return str(next(iter(result.model.factors(result.state.current).values())).dtype.name)


def _refuse_others(problem: Problem, before: Problem) -> None:
    """Raise `ParameterError` where parameters say otherwise than when the training began."""
    names = ("ranks", "loss", "rule", "reg_w", "reg_h", "init")
    now, then = ({name: getattr(p, name) for name in names} | dict(p.model_options) for p in (problem, before))
    if changed := sorted(name for name in now | then if now.get(name) != then.get(name)):
        told = "; ".join(f"{name} was {_said(then, name)} and is {_said(now, name)}" for name in changed)
        raise ParameterError(f"the training began with other parameters: {told}. Go on with the same, or fit anew")


def _said(values: Mapping[str, Any], name: str) -> str:
    return repr(values[name]) if name in values else "its default"
