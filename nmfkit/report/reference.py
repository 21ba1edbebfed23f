"""Components beside known ones: which is which, by the cosine of the angle between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import UsageError
from nmfkit.report.html import shortened
from nmfkit.report.mixture import Mixture, mixture
from nmfkit.sources import open_source


@dataclass(frozen=True)
class Reference:
    """Known components (k, n), with the features in the order of the run."""

    path: str
    names: tuple[str, ...]
    values: Array = field(repr=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Match:
    """What a component is matched to, one to one, what it is most like, and what it is made of.

    None where no match is left for it.
    """

    name: str | None
    cosine: float | None
    nearest: str
    nearest_cosine: float
    mixture: Mixture


def read_reference(path: str, features: Sequence[str] | None, n: int) -> Reference:
    """A table of known components × features, or the transpose; features are matched by name where both have names.

    Raises `UsageError` where it does not fit the run, `SourceError` where it cannot be read.
    """
    source = open_source(path, dtype="float64")
    values = source.read(0, source.shape[0]).dense()
    rows, columns = getattr(source, "row_names", None), getattr(source, "feature_names", None)
    if values.shape[1] != n or (features is not None and rows is not None and set(rows) == set(features)):
        values, rows, columns = values.T, columns, rows
    if values.shape[1] != n:
        raise UsageError(
            f"the reference {path} is {values.shape[1]} × {values.shape[0]}, and neither side fits the run's {n} "
            "features"
        )
    if not (np.isfinite(values).all() and values.any(axis=1).all()):
        raise UsageError(f"the reference {path} holds a component that is all zero, or numbers that are not finite")
    values, notes = _aligned(path, values, columns, features)
    names = tuple(rows) if rows is not None else tuple(f"reference {i + 1}" for i in range(len(values)))
    return Reference(path, names, values, notes)


def _aligned(
    path: str, values: Array, given: Sequence[str] | None, features: Sequence[str] | None
) -> tuple[Array, tuple[str, ...]]:
    if given is None or features is None:
        return values, (f"features of {path} are matched to those of the run by their order: names are missing",)
    given, features = list(given), list(features)
    if given == features:
        return values, ()
    at = {name: i for i, name in enumerate(given)}
    if lacking := [name for name in features if name not in at]:
        shown = ", ".join(repr(shortened(name, 40)) for name in lacking[:3])
        raise UsageError(f"the reference {path} lacks {len(lacking)} of the run's {len(features)} features: {shown}, …")
    if len(at) != len(given):
        raise UsageError(f"the reference {path} has several features of one name, so they cannot be matched")
    return values[:, [at[name] for name in features]], ("features of the reference are matched by name",)


def cosines(a: Array, b: Array) -> Array:
    """The cosine of the angle between each row of `a` (p, n) and each of `b` (q, n); 0 for a row that is all zero."""
    product: Array = _unit(a) @ _unit(b).T
    return np.clip(product, -1.0, 1.0)


def _unit(a: Array) -> Array:
    wide = a / np.maximum(np.abs(a).max(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    norms = np.sqrt(np.sum(np.square(wide, dtype=np.float64), axis=1, keepdims=True))
    unit: Array = wide / np.where(norms > 0, norms, 1)
    return unit


def matches(v: Array, reference: Reference) -> list[Match]:
    """One match for each row of `v`, by the assignment with the largest sum of cosines (the Hungarian method)."""
    from scipy.optimize import linear_sum_assignment

    cosine = cosines(v, reference.values)
    chosen = dict(zip(*map(np.ndarray.tolist, linear_sum_assignment(-cosine)), strict=True))
    found = []
    for k, row in enumerate(cosine):
        near = int(np.argmax(row))
        at = chosen.get(k)
        name, value = (None, None) if at is None else (reference.names[at], float(row[at]))
        made_of = mixture(np.asarray(v[k], np.float64), reference.values, reference.names)
        found.append(Match(name, value, reference.names[near], float(row[near]), made_of))
    return found
