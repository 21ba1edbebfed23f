"""What every estimator is: a model of nmfkit behind scikit-learn's interface."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from numbers import Integral
from typing import Any, ClassVar, cast

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted

import nmfkit
from nmfkit.arguments import make_problem
from nmfkit.blocks import Array
from nmfkit.check import resolve
from nmfkit.errors import UsageError
from nmfkit.estimators.errors import ParameterError, as_value_errors
from nmfkit.estimators.inputs import matrix_of
from nmfkit.estimators.progress import watcher_of
from nmfkit.executors.machine import MachineOptions
from nmfkit.judging import restored
from nmfkit.probe import Expected
from nmfkit.protocols import Calibrates
from nmfkit.result import Result


class ModelEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A transformer X (m, n) → W (m, n_components) that fits a model of nmfkit.

    X is an array, a sparse matrix or a DataFrame, which pass scikit-learn's checks, or anything else that `nmfkit.fit`
    takes: a path, a zarr array or group, a dask array, an AnnData object, which nmfkit opens and reads by blocks.
    Fitted: `components_` (n_components, n) where the model has an H, `n_components_`, `objective_` (loss and
    regularizers), `reconstruction_err_` = √(2 · loss), `n_iter_` sweeps, `n_features_in_`, `feature_names_in_` where X
    names its features, and `result_`, the `nmfkit.Result`. Faults of parameters and data are `ValueError`s.
    """

    _model: ClassVar[str] = "nmf"

    @property
    def _expected(self) -> Expected:
        """What X may be with these parameters; of either sign where they make no model: `fit` says why."""
        try:
            problem = make_problem(**self._fields((1, 1), None))
            return Expected.by(resolve(problem).model)
        except UsageError:
            return Expected(signed=True)

    def fit(self, X: Any, y: Any = None, *, mask: Any = None, weights: Any = None) -> Any:
        """Fit to X (m, n); `mask` and `weights` (m, n) as in `nmfkit.fit`. Returns the estimator."""
        del y
        self._fit(X, mask=mask, weights=weights)
        return self

    def fit_transform(self, X: Any, y: Any = None, *, mask: Any = None, weights: Any = None) -> Array:
        """Fit to X (m, n) and return W (m, n_components)."""
        del y
        return self._fitted_rows(self._fit(X, mask=mask, weights=weights))

    def transform(self, X: Any) -> Array:
        """Rows of W (m', n_components) for X (m', n) on the fitted components.

        Each row is updated until no entry moves by more than `tol` of its largest, or a tenth of `tol` where the rule
        takes short steps, at most `max_iter` times.
        """
        check_is_fitted(self, "n_components_")
        return self._of_rows(self._encoded(X))

    def _encoded(self, X: Any) -> Any:
        """What `nmfkit.transform` gives for X."""
        with as_value_errors():
            x = matrix_of(self, X, reset=False)
            return nmfkit.transform(
                self._encoder,
                x,
                max_sweeps=self.max_iter,
                tol=self._settled(),
                missing=self.missing,
                **self._machine(),
            )

    def inverse_transform(self, X: Any) -> Array:
        """X̂ = W H (m, n) for rows of W (m, n_components); raises `ParameterError` where the model has no H.

        Of a model that makes columns of its own from those of X, or an X̂ that is not the bare product, X̂ is what it
        makes of W H, in the units of X.
        """
        check_is_fitted(self, "n_components_")
        if not hasattr(self, "components_"):
            raise ParameterError(f"model {self._model!r} has no H that rows of W could be multiplied by")
        w = check_array(X, accept_sparse="csr", dtype=[np.float64, np.float32])
        if w.shape[1] != self.n_components_:
            raise ParameterError(f"W has {w.shape[1]} columns, and there are {self.n_components_} components")
        fitted = self._encoder
        w = w.toarray() if hasattr(w, "toarray") else w
        return restored(fitted.model, w, self.components_, fitted.state.current)

    def _settled(self) -> float:
        """The movement at which a row counts as fitted: short steps get small long before they arrive."""
        rule = resolve(self._encoder.problem).ingredients.rule
        return float(self.tol) if getattr(rule, "gathers_once", False) else 0.1 * self.tol

    # --- what a model may do in its own way -----------------------------------------------------------------

    def _fitted_rows(self, result: Result) -> Array:
        """The rows (m, n_components) of a fit."""
        return rows_of(result)

    def _of_rows(self, rows: Any) -> Array:
        """The rows (m', n_components) in what `nmfkit.transform` gives: the first factor where there are several."""
        return cast(Array, next(iter(rows.values())) if isinstance(rows, dict) else rows)

    def _loss(self, result: Result, x: Any) -> float:
        """The loss without regularizers of the factors of X, which is `x` as it was fitted."""
        del x
        return loss_of(result)

    def _matrix(self, X: Any) -> Any:
        """What is fitted, of the X that `fit` is given."""
        return matrix_of(self, X, reset=True)

    def _fields(self, shape: tuple[int, int], h: Any) -> dict[str, Any]:
        """The fields of the problem for X of this shape and an H given to start from, if there is one."""
        del shape, h
        parts = ("loss", "rule", "reg_w", "reg_h", "init")
        taken = {name: getattr(self, name) for name in parts if hasattr(self, name)}
        ranks = self.n_components if isinstance(self.n_components, list | tuple) else (self.n_components,)
        return {"model": self._model, **taken, "ranks": ranks, "model_options": self._model_options()}

    def _start(self, x: Any, rank: int, w: Any, h: Any, *, whole: bool) -> dict[str, Any]:
        """Starting factors; `whole` where every entry of `x` counts alike."""
        del x, rank, whole
        return {"w": w, "h": h}

    def _model_options(self) -> Mapping[str, Any]:
        return {}

    # --- fitting --------------------------------------------------------------------------------------------

    def _fit(self, X: Any, w: Any = None, h: Any = None, **observed: Any) -> Result:
        with as_value_errors():
            x = self._matrix(X)
            fields = {**self._fields(x.shape, h), **self._common()}
            given = {name: value for name, value in observed.items() if value is not None}
            rank = next(iter(fields["ranks"]), 0)  # none at all is refused by the fit
            start = self._start(x, rank, w, h, whole=not given and self.missing == "none")
            result = nmfkit.fit(
                x,
                **fields,
                **start,
                **given,
                missing=self.missing,
                watcher=watcher_of(self.verbose),
                **self._machine(),
            )
            self._note(result, x)
        return result

    def _common(self) -> dict[str, Any]:
        common = {"max_sweeps": self.max_iter, "tol": self.tol, "pilot": self.pilot, "seed": self._seed()}
        return {**common, "time_limit": self.time_limit, "dtype": self.dtype}

    def _seed(self) -> int:
        """The seed of the fit: `random_state` itself where it is a number, else drawn from it."""
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def _machine(self) -> MachineOptions:
        named = {name: getattr(self, name) for name in MachineOptions.__annotations__ if hasattr(self, name)}
        return cast(MachineOptions, {name: value for name, value in named.items() if value is not None})

    def _note(self, result: Result, x: Any) -> None:
        """Set what a fit leaves, and warn where it ended too early."""
        if self.key is not None:
            result.attributes["source"]["key"] = self.key  # the fit was given an open source
        self.result_ = self._encoder = result
        shared = result.model.factors(result.state.current)
        self.n_components_ = result.problem.ranks[-1]
        if "h" in shared:
            self.components_ = shared["h"]
        self.n_iter_ = result.state.sweep
        self.objective_ = result.objective
        self.reconstruction_err_ = float(np.sqrt(2 * max(self._loss(result, x), 0.0)))
        if result.stopped_by == "max-sweeps" and self.tol > 0:
            warnings.warn(
                f"Maximum number of iterations {self.max_iter} reached. Increase it to improve convergence.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _forget_fit(self) -> None:
        """Drop what only a fit to the whole of X can say."""
        for name in ("result_", "objective_", "reconstruction_err_", "n_iter_"):
            self.__dict__.pop(name, None)

    # --- scikit-learn's own questions -----------------------------------------------------------------------

    @property
    def _n_features_out(self) -> int:
        return int(self.n_components_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = not self._expected.signed
        tags.input_tags.allow_nan = self.missing == "nan"
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _more_tags(self) -> dict[str, Any]:
        """The tags for scikit-learn 1.5."""
        return {
            "requires_positive_X": not self._expected.signed,
            "allow_nan": self.missing == "nan",
            "preserves_dtype": [np.float64, np.float32],
        }


def rows_of(result: Result) -> Array:
    """The factor (m, n_components) that has a row for each row of X."""
    return result.factors[result.model.row_factors[0]]


def loss_of(result: Result) -> float:
    """The loss of a fit without its regularizers."""
    problem = result.problem
    if not (problem.reg_w or problem.reg_h):
        return result.objective
    parts, model = resolve(problem).ingredients, result.model
    acting = model.regularizers(result.state.current) if isinstance(model, Calibrates) else (parts.reg_w, parts.reg_h)
    pairs = [(part, factor) for own, factor in zip(acting, (result.w, result.h.T), strict=True) for part in own]
    return result.objective - sum(float(part.value(part.stat(factor))) for part, factor in pairs)
