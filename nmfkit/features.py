"""Whether other data have the features of a run."""

from __future__ import annotations

from nmfkit.errors import UsageError
from nmfkit.protocols import Source
from nmfkit.result import Result


def refuse_other_features(result: Result, source: Source) -> None:
    """Raise `UsageError` unless `source` has as many features as the run, and not the same names in another order."""
    if source.shape[1] != result.shape[1]:
        raise UsageError(f"the run has {result.shape[1]} features, and {source.uri} has {source.shape[1]}")
    if result.feature_names is None or source.feature_names is None:
        return
    then, now = list(result.feature_names), list(source.feature_names)
    if then != now and sorted(then) == sorted(now):
        at = next(j for j, (one, other) in enumerate(zip(then, now, strict=True)) if one != other)
        raise UsageError(
            f"{source.uri} has the features of the run in another order: column {at} is {now[at]!r}, and was "
            f"{then[at]!r} in the run; put the columns in the order of the run first"
        )
