"""X as nmfkit reads it: arrays pass scikit-learn's checks, everything else is opened."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from sklearn.utils.validation import check_non_negative

from nmfkit.estimators.errors import ParameterError
from nmfkit.probe import way_out
from nmfkit.protocols import Source
from nmfkit.sources import is_source, open_source
from nmfkit.sources.observed import filled, holes

OPENED = frozenset({"anndata", "dask", "zarr"})
"""Libraries whose objects are opened, not turned into arrays."""


def is_opened(x: Any) -> bool:
    """Whether nmfkit opens `x` itself: a path, a URI, a source, or an object of a library that it reads."""
    return isinstance(x, str | PathLike) or type(x).__module__.partition(".")[0] in OPENED or is_source(x)


def matrix_of(estimator: Any, x: Any, *, reset: bool) -> Any:
    """`x` as `nmfkit.fit` takes it, and its features noted on the estimator, or compared where not `reset`.

    Raises `ValueError` where the number or the names of the features are not those of the fit, or entries are
    negative where the model takes none or, unless missing ones are asked for, not finite.
    """
    if is_opened(x):
        source = open_source(x, key=estimator.key, dtype=estimator.dtype, missing=holes(estimator.missing))
        (_note_features if reset else _compare_features)(estimator, source)
        return source
    x = _unmasked(x, estimator.missing)
    dtypes = [np.float64, np.float32] if estimator.dtype is None else estimator.dtype
    finite = "allow-nan" if estimator.missing == "nan" else True
    checked = _validated(estimator, x, reset=reset, finite=finite, accept_sparse="csr", dtype=dtypes)
    _refuse_negative(estimator, checked)
    return checked


def _refuse_negative(estimator: Any, x: Any) -> None:
    expected = estimator._expected
    if expected.signed:
        return
    try:
        check_non_negative(x, type(estimator).__name__)
    except ValueError as error:
        raise ParameterError(f"{error}: {way_out('a negative entry', expected.either_sign)}") from None


def _unmasked(x: Any, missing: str) -> Any:
    """`x` with NaN where a masked array is masked, if that stands for missing entries; scikit-learn drops masks."""
    if np.ma.is_masked(x) and missing != "nan":
        count = int(np.sum(np.ma.getmaskarray(x)))
        raise ParameterError(f"{count:,} entries of X are masked: say missing='nan' to leave them out, or fill them")
    return filled(x, missing)


def _validated(estimator: Any, x: Any, *, finite: Any, **checks: Any) -> Any:
    """Scikit-learn's checks of an array, which note or compare the features, too."""
    try:
        from sklearn.utils.validation import validate_data
    except ImportError:  # scikit-learn 1.5
        return estimator._validate_data(x, force_all_finite=finite, **checks)
    return validate_data(estimator, x, ensure_all_finite=finite, **checks)


def _note_features(estimator: Any, source: Source) -> None:
    estimator.n_features_in_ = source.shape[1]
    if source.feature_names is not None:
        estimator.feature_names_in_ = np.asarray(list(source.feature_names), dtype=object)
    elif hasattr(estimator, "feature_names_in_"):
        del estimator.feature_names_in_


def _compare_features(estimator: Any, source: Source) -> None:
    name, n = type(estimator).__name__, estimator.n_features_in_
    if source.shape[1] != n:
        raise ParameterError(f"{source.uri} has {source.shape[1]} features, but {name} is expecting {n} features")
    fitted = getattr(estimator, "feature_names_in_", None)
    if fitted is not None and source.feature_names is not None:
        _refuse_other_names(name, source.uri, list(fitted), source.feature_names)


def _refuse_other_names(name: str, uri: str, fitted: list[str], given: Sequence[str]) -> None:
    at = next((i for i, (one, other) in enumerate(zip(fitted, given, strict=True)) if one != other), None)
    if at is None:
        return
    reason = "in another order" if sorted(fitted) == sorted(given) else "others than those"
    raise ParameterError(
        f"the features of {uri} are {reason} that {name} was fitted to: number {at} is {given[at]!r}, and was "
        f"{fitted[at]!r}; select and order the columns first"
    )
