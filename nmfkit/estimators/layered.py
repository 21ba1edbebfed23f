"""The estimator of a model of several levels: components and coefficients of each, the last one's foremost."""

from __future__ import annotations

from typing import Any, cast

from sklearn.utils.validation import check_is_fitted

from nmfkit.blocks import Array
from nmfkit.estimators.base import ModelEstimator
from nmfkit.protocols import HasLevels, LayerLosses
from nmfkit.result import Result


class LayeredEstimator(ModelEstimator):
    """A transformer X (m, n) → coefficients (m, r_L) of the last of L levels.

    `n_components` (r_1, …, r_L) is one number of components for each level, or a single number. Fitted, beside what
    every `ModelEstimator` has: `components_` (r_L, n), the components of the last level in the features of X, that is
    the product of the factors up to it; `components_per_level_`, a list of those (r, n) of each level, the one next to
    the data first; `layer_losses_` with `start`, `end` and `weights` of the layers. `reconstruction_err_` is √(2 · the
    loss of the first layer), which is the one that sees X.
    """

    def transform_levels(self, X: Any) -> list[Array]:
        """The coefficients (m', r) of X (m', n) at each level, the one next to the data first.

        Each row is fitted as by `transform`, which returns the last of them.
        """
        check_is_fitted(self, "n_components_")
        return self._by_level(self._encoded(X))

    def _by_level(self, rows: Any) -> list[Array]:
        names = [level.name for level in self._encoder.levels]
        return [rows[name] for name in names] if isinstance(rows, dict) else [cast(Array, rows)]

    def _of_rows(self, rows: Any) -> Array:
        return self._by_level(rows)[-1]

    def _fitted_rows(self, result: Result) -> Array:
        return result.levels[-1].coefficients

    def _loss(self, result: Result, x: Any) -> float:
        del x
        return float(layer_losses(result).end[0])

    def _note(self, result: Result, x: Any) -> None:
        super()._note(result, x)
        self.components_per_level_ = [level.components for level in result.levels]
        self.components_ = self.components_per_level_[-1]
        self.layer_losses_ = layer_losses(result)


def layer_losses(result: Result) -> LayerLosses:
    """The loss of each layer alone, without its weight, where the layered fit began and at its end."""
    return cast(HasLevels, result.model).layer_losses(result.state.following)
