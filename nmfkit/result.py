"""What a fit gives back, in memory or on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from nmfkit.array_rows import is_result
from nmfkit.blocks import Array, Dense
from nmfkit.errors import StoreError, UsageError
from nmfkit.levels import FittedLevel, by_name, coefficients_name, levels_of
from nmfkit.loop import State
from nmfkit.problem import Problem
from nmfkit.protocols import HasLevels, HasView, Model
from nmfkit.sources.observed import data_places
from nmfkit.sources.staging import check_output
from nmfkit.store import RunStore


@dataclass(frozen=True)
class Result:
    """A fitted factorization.

    `w` (m, rank) and `h` (rank, n) are read when asked for; factors that a model calls otherwise are in `factors`, and
    what it finds at each of several levels in `levels`.
    `attributes` are those of the run store: problem, source, versions, timings, status.
    """

    problem: Problem
    state: State = field(repr=False)
    shape: tuple[int, int]
    attributes: Mapping[str, Any] = field(repr=False)
    row_names: Sequence[str] | None = field(default=None, repr=False)
    feature_names: Sequence[str] | None = field(default=None, repr=False)
    path: str | None = None

    @property
    def objective(self) -> float:
        """Loss and regularizers of exactly these factors."""
        return self.state.objective

    @property
    def status(self) -> str:
        """ "done", or "interrupted" for the last checkpoint of a run that has not finished."""
        return "done" if self.state.stopped_by else "interrupted"

    @property
    def stopped_by(self) -> str | None:
        """ "converged", "max-sweeps", "time-limit", or a word of the model's own, as "patience"."""
        return self.state.stopped_by

    @cached_property
    def history(self) -> Any:
        """A record array with `sweep`, `objective` and `seconds`, a row a sweep."""
        rows = [(r.sweep, r.objective, r.seconds) for r in self.state.history]
        return np.rec.array(rows, dtype=[("sweep", "i8"), ("objective", "f8"), ("seconds", "f8")])

    @cached_property
    def factors(self) -> dict[str, Array]:
        """Every factor by the model's own names, those of the rows first, then the shared ones.

        Raises `StoreError` when the run has changed since it was loaded.
        """
        rows = by_name(self.state.rows.read(0, self.shape[0]), self.model)
        return {**rows, **self.model.factors(self.state.current)}

    @property
    def w(self) -> Array:
        """W (m, rank); raises `UsageError` where the model has no factor of that name."""
        return self._factor("w")

    @property
    def h(self) -> Array:
        """H (rank, n); raises `UsageError` where the model has no factor of that name."""
        return self._factor("h")

    @cached_property
    def labels(self) -> Array:
        """The group of each row (m,): the component that weighs most in it, −1 where the row of W is all zero.

        Of a model with levels, by the weights of the first one. Raises `UsageError` where the model has several factors
        of the rows, and no levels.
        """
        from nmfkit.clustering import assignments

        return assignments.labels(self)

    @property
    def memberships(self) -> Array:
        """The part of each component in each row (m, r): rows of W scaled to the sum 1, zero where they are all zero.

        Raises as `labels` does.
        """
        from nmfkit.clustering import assignments

        return assignments.memberships(self)

    @cached_property
    def levels(self) -> tuple[FittedLevel, ...]:
        """What a model of several layers finds at each level: X ≈ `coefficients` (m, r) `components` (r, n).

        The first one is next to the data; both are multiplied out when asked for. Raises `UsageError` where the model
        has only one pair of factors.
        """
        found = levels_of(self.model, self.state.current)
        if not found:
            raise UsageError(f"this model has no levels: its factors are {', '.join(self._names)}")
        return tuple(FittedLevel(i, coefficients_name(i, level), level, self) for i, level in enumerate(found, 1))

    @property
    def _names(self) -> list[str]:
        """The names of `factors`, without reading a row."""
        rows = [name for name in self.model.row_factors if is_result(name)]
        return [*rows, *self.model.factors(self.state.current)]

    @property
    def width(self) -> int:
        """The columns of H: N of a model that makes columns of its own from those of X (`HasView`), else n."""
        model = self.model
        return int(model.factors(self.state.current)["h"].shape[1]) if isinstance(model, HasView) else self.shape[1]

    @cached_property
    def is_viewed(self) -> bool:
        """Whether what is factorized is another matrix than X, made of it by the model (`HasView`)."""
        model = self.model
        if not isinstance(model, HasView):
            return False
        row = Dense(np.zeros((1, self.shape[1]), model.factors(self.state.current)["h"].dtype))
        return model.view(row, self.state.current) is not row

    @property
    def fits_columns(self) -> bool:
        """Whether the columns of H are those of X, which they are unless the model makes others of them."""
        return self._made_columns is None

    @property
    def column_names(self) -> Sequence[str] | None:
        """Names of the columns of H: those of X, or what the model calls the columns that it makes of them.

        None where X has no names, unless the model makes columns: then those of X are called column 0, column 1, …
        """
        return self.feature_names if self._made_columns is None else self._made_columns

    @cached_property
    def _made_columns(self) -> Sequence[str] | None:
        return made_columns(self.model, self.feature_names, self.shape[1])

    def reconstruct(self, rows: slice | None = None) -> Array:
        """X̂ of these rows of X, by default of all, (k, n): W H, of a model with levels that of the first one.

        Where the model makes columns of its own from those of X, or an X̂ that is not the bare product, X̂ is what the
        model makes of W H, in the units of X. All of it is in memory. Raises `UsageError` where the model has no
        product of two factors, `StoreError` when the run has changed since it was loaded.
        """
        from nmfkit.judging import found_products, restored

        made = found_products(self, self.model, "X̂ is made of")[0]
        picked = range(self.shape[0])[slice(None) if rows is None else rows]
        lo, hi = (min(picked), max(picked) + 1) if picked else (0, 0)
        w = made.weights(self.state.rows.read(lo, hi))[np.asarray(picked, np.int64) - lo]
        return restored(self.model, w, made.v, self.state.current)

    def _factor(self, name: str) -> Array:
        if name not in (known := self._names):
            levels = "; what it finds at each level is in result.levels" if isinstance(self.model, HasLevels) else ""
            raise UsageError(f"this model has no factor {name!r}: result.factors has {', '.join(known)}{levels}")
        return self.factors[name]

    @cached_property
    def model(self) -> Model:
        """The model with its parts; raises `UsageError` when a plugin that it needs is not installed."""
        from nmfkit.check import resolve

        return resolve(self.problem).model

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the run store to `path`; raises `StoreError` when something stands there already."""
        if not all(isinstance(p, str) for p in _parts(self.problem)):
            raise StoreError(
                "a problem with part objects of your own cannot be stored: register them as a plugin first"
            )
        check_output(str(path), overwrite=overwrite, keep=[self.path, *data_places(self.attributes["source"])])
        with RunStore.creating(path, _plain(self.attributes), overwrite=overwrite) as store:
            store.write_names(self.row_names, self.feature_names, self._made_columns)
            store.finish(self.state, self.shape[0], self.model.factors(self.state.current))
            if self.state.stopped_by is None:
                store.update(status="interrupted")

    def transform(self, x: Any, **options: Any) -> Any:
        """Rows of new data on these components; see `nmfkit.transform`."""
        from nmfkit.api import transform

        return transform(self, x, **options)


def made_columns(model: Model, names: Sequence[str] | None, n: int) -> list[str] | None:
    """What a model calls the columns that it makes of n columns with these names; None where they are those of X."""
    if not isinstance(model, HasView):
        return None
    given = [f"column {j}" for j in range(n)] if names is None else list(names)
    made = model.columns(given)
    return None if made == given else made


def _parts(problem: Problem) -> tuple[Any, ...]:
    return (problem.model, problem.loss, problem.rule, problem.init, *problem.reg_w, *problem.reg_h)


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of the run without those that its store writes itself."""
    own = ("status", "stopped_by", "objective", "sweeps", "nmfkit_format")
    return {name: value for name, value in attributes.items() if name not in own}


def load(path: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None) -> Result:
    """The result at a path or URI, or the last checkpoint of a run that has not finished; raises `StoreError`."""
    store = RunStore.open(path, options=storage_options)
    state = store.restore()
    attributes = store.attributes
    m, n = attributes["source"]["shape"]
    return Result(
        problem=Problem.from_stored(attributes["problem"]),
        state=state,
        shape=(int(m), int(n)),
        attributes=attributes,
        row_names=store.names("rows"),
        feature_names=store.names("features"),
        path=str(path),
    )
