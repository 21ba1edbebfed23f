"""The estimator of a model of similarities: groups of samples, and how much each sample belongs to each."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClusterMixin
from sklearn.utils.metaestimators import available_if

import nmfkit
from nmfkit.blocks import Array
from nmfkit.check import resolve
from nmfkit.estimators.base import ModelEstimator
from nmfkit.estimators.errors import MatrixError
from nmfkit.executors.machine import Machine
from nmfkit.executors.open import executing
from nmfkit.judging import HalfSquares, Judge, products_of
from nmfkit.loop import Watcher
from nmfkit.result import Result
from nmfkit.sources import open_source

PRECOMPUTED = "precomputed"
"""The `affinity` of an X that holds similarities."""


def _is_precomputed(estimator: SymmetricEstimator) -> bool:
    return bool(estimator.affinity == PRECOMPUTED)


class SymmetricEstimator(ClusterMixin, ModelEstimator):
    """A clusterer and transformer by A ≈ H Hᵀ for similarities A (n, n).

    `affinity` "precomputed" says that X is A; anything else is a kind of `nmfkit.similarity`, such as "knn" or
    "cosine", by which A is made of X (n, features). Fitted, beside what every `ModelEstimator` has: `labels_` (n,),
    the component that weighs most in each sample, −1 for one without any; `embedding_` (n, n_components), the weights;
    `components_` (n_components, n); `reconstruction_err_` = ‖A − W H‖; and `affinity_matrix_`, the sparse A, where it
    was made of X. `transform` fits rows of similarities to the samples of the fit: it is there for "precomputed" alone.
    """

    affinity: Any

    def fit_predict(self, X: Any, y: Any = None, **observed: Any) -> Array:
        """Fit, and return `labels_` (n,)."""
        labels: Array = self.fit(X, y, **observed).labels_
        return labels

    def transform(self, X: Any) -> Array:
        """Rows of H (m', n_components) for similarities (m', n) of other samples to those of the fit."""
        return super().transform(X)

    def _matrix(self, X: Any) -> Any:
        x = super()._matrix(X)
        if _is_precomputed(self):
            return x
        if x.shape[0] == 1:
            raise MatrixError("X has 1 sample, and similarities are of pairs")
        place = Machine.ready(self._machine())
        self.affinity_matrix_ = nmfkit.similarity(x, self.affinity, **place.without_gpu.options)
        return self.affinity_matrix_

    def _loss(self, result: Result, x: Any) -> float:
        """½ ‖A − W H‖² by one more read of A: objectives may hold penalties, and leave out the diagonal."""
        resolved = resolve(result.problem)
        source = open_source(x, key=self.key, dtype=result.h.dtype.name)
        judge = Judge(HalfSquares(), products_of(result, resolved), np.zeros(result.shape[1]), None)
        with executing(source, resolved, Machine.of(self._machine()), watcher=Watcher()) as executor:
            _, stats = executor.sweep(judge, result.state.rows, result.state.current)
        return float(stats["losses"][0])

    def _note(self, result: Result, x: Any) -> None:
        super()._note(result, x)
        if _is_precomputed(self):
            self.__dict__.pop("affinity_matrix_", None)
        self.embedding_ = self._fitted_rows(result)
        self.labels_ = result.labels

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = _is_precomputed(self)
        return tags

    def _more_tags(self) -> dict[str, Any]:
        """The tags for scikit-learn 1.5."""
        return {**super()._more_tags(), "pairwise": _is_precomputed(self)}


# After the class: a descriptor that Python's class statement sees would lose its condition to `set_output`.
SymmetricEstimator.transform = available_if(_is_precomputed)(SymmetricEstimator.transform)  # type: ignore[method-assign] # a descriptor of scikit-learn's, which has no types
