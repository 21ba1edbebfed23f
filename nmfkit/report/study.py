"""Everything that pictures and the report show of a run, gathered once; components are ordered by their share."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import NmfkitError, UsageError
from nmfkit.executors.machine import Machine
from nmfkit.judging import error_text, restored
from nmfkit.loop import Watcher
from nmfkit.origin import IN_MEMORY, OTHERS
from nmfkit.protocols import HasLevels, LayerLosses
from nmfkit.report.clusters import Clusters, clusters
from nmfkit.report.labels import Labels, read_labels
from nmfkit.report.layers import Layer, layers, sizes_of
from nmfkit.report.links import Links, links
from nmfkit.report.reference import Match, Reference, cosines, matches, read_reference
from nmfkit.report.residuals import Residuals, residuals
from nmfkit.report.shapes import Shapes, shapes
from nmfkit.report.weights import Weights, weigh
from nmfkit.result import Result, load
from nmfkit.score import hoyer
from nmfkit.sources.uri import is_remote


@dataclass(frozen=True)
class Components:
    """The components of a layer, the one with the largest share first.

    `order[i]` is the index that component i has in the run; `v` (r, n), `weights` and all that follows are in the order
    shown. The share is the part of the sum of all entries' sizes of W H that a component makes; without W, of V.
    Where columns of v are made of the features of X, `added` (r, n) is what a weight of 1 adds to X̂.
    """

    layer: Layer
    order: Array = field(repr=False)
    shares: Array = field(repr=False)
    v: Array = field(repr=False)
    weights: Weights | None = None
    matches: list[Match] = field(default_factory=list)
    added: Array | None = field(default=None, repr=False)

    @property
    def pictured(self) -> Array:
        """The components in the features of X (r, n), which may be pixels or points of an axis."""
        return self.v if self.added is None else self.added

    @property
    def signed(self) -> bool:
        """Whether some entries of these are negative."""
        return bool(np.min(self.pictured) < 0)

    @property
    def rank(self) -> int:
        """Their number."""
        return len(self.order)

    @cached_property
    def sizes(self) -> Array:
        """The sum of the sizes of each component's entries (r,)."""
        return sizes_of(self.v)

    @property
    def usage(self) -> Array:
        """The sum of each component's weights over all rows (r,); ones without weights."""
        return self.weights.sums if self.weights else np.ones(self.rank)

    @cached_property
    def cosine(self) -> Array:
        """The cosine of each pair (r, r)."""
        return cosines(self.v, self.v)

    @cached_property
    def sparsity_of_v(self) -> Array:
        """Hoyer's sparsity of each component's entries (r,)."""
        return _hoyers(self.sizes, np.square(self.v, dtype=np.float64).sum(axis=1), self.v.shape[1])

    @cached_property
    def sparsity_of_w(self) -> Array | None:
        """Hoyer's sparsity of each component's weights over the rows (r,)."""
        return _hoyers(self.weights.sums, self.weights.squares, self.weights.count) if self.weights else None

    @cached_property
    def cosine_of_w(self) -> Array | None:
        """The cosine of each pair of columns of the factor that weighs a level's components (r, r)."""
        if (mixing := self.layer.mixing) is not None:
            return cosines(np.asarray(mixing).T[self.order], np.asarray(mixing).T[self.order])
        if self.weights is None or self.weights.gram is None:
            return None
        size = np.sqrt(np.where((square := np.diag(self.weights.gram)) > 0, square, 1))
        cosine: Array = np.clip(self.weights.gram / np.outer(size, size), 0.0, 1.0)
        return cosine

    @cached_property
    def profiles(self) -> Array:
        """Of each row of the sample, the part of its mass that each component makes (s, r); NaN for rows of zeros."""
        assert self.weights is not None
        mass = self.weights.sample * self.layer.scale[self.order]
        total = mass.sum(axis=1, keepdims=True)
        parts: Array = np.divide(mass, total, out=np.full_like(mass, np.nan), where=total > 0)
        return parts

    def top(self, k: int, count: int) -> Array:
        """The features of largest size in component k, the heaviest first, at most `count`, none that is zero."""
        row = np.abs(self.v[k])
        some = np.argpartition(-row, min(count, len(row) - 1))[: count + 1] if len(row) > count else np.arange(len(row))
        order = some[np.argsort(-row[some], kind="stable")][:count]
        found: Array = order[row[order] > 0]
        return found


@dataclass(frozen=True)
class Study:
    """A run with all that was asked for; `residuals` is None with `gone`, a sentence on why.

    Of a model with levels, `components` has one entry a level, `links` one a level from the second on, and `losses`
    those of its layers. `clusters` are those of a symmetric model.
    """

    result: Result
    components: tuple[Components, ...]
    shapes: Shapes
    labels: Labels | None = None
    reference: Reference | None = None
    residuals: Residuals | None = None
    gone: str | None = None
    top: int = 8
    links: tuple[Links, ...] = ()
    losses: LayerLosses | None = None
    clusters: Clusters | None = None

    @property
    def main(self) -> Components:
        """Those of the first layer, next to the data, or of the level that was asked for."""
        return self.components[0]

    @property
    def has_levels(self) -> bool:
        """Whether the model has more than one level."""
        return bool(self.links)

    @property
    def symmetric(self) -> bool:
        """Whether rows and features are the same things."""
        return self.main.layer.symmetric

    @cached_property
    def features(self) -> Sequence[str] | None:
        """The names of all columns of the components, where they are known."""
        names = self.result.column_names
        return None if names is None else tuple(names)

    @property
    def error_text(self) -> str:
        """The relative error as a formula."""
        return error_text(self.result, self.main.layer.v)

    def feature(self, j: int) -> str:
        """The name of a feature."""
        if self.features is not None:
            return str(self.features[j])
        return self.row(j) if self.symmetric else f"column {j}"

    def row(self, i: int) -> str:
        """The name of a row."""
        names = self.result.row_names
        if names is None and self.symmetric:
            names = self.features
        return str(names[i]) if names is not None else f"row {i}"

    @property
    def numbered(self) -> Iterator[tuple[int, int]]:
        """(number shown, index in the run) of each component."""
        return ((i + 1, int(k)) for i, k in enumerate(self.main.order))


def study(
    run: Result | str | os.PathLike[str],
    x: Any = None,
    *,
    labels: Any = None,
    reference: str | None = None,
    image_shape: str | None = None,
    top: int = 8,
    level: int | None = None,
    data: bool = True,
    key: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    watcher: Watcher | None = None,
    machine: Machine | None = None,
) -> Study:
    """Read the run once, and the data once where `data` are wanted and found, at `x` or where the run had them.

    What `labels`, `reference` and `image_shape` ask for is checked before anything long begins, all faults at once.
    With `level`, from 1, only that one is looked at; −1 is the last.
    """
    watcher = watcher or Watcher()
    options = storage_options
    result = run if isinstance(run, Result) else load(run, storage_options=options if is_remote(str(run)) else None)
    faults = _Faults()
    form = faults.of(lambda: shapes(result, image_shape)) or Shapes()
    given = faults.of(lambda: None if labels is None else read_labels(labels, result.shape[0], result.row_names))
    known = faults.of(lambda: _known(reference, result) if reference else None)
    found = faults.of(lambda: _asked(layers(result), level))
    faults.tell()
    watcher.stage("weights")
    weights = weigh(result, found, given, form.rows)
    added = None if result.fits_columns else _added(result)
    components = tuple(_ordered(layer, w, known, added) for layer, w in zip(found, weights, strict=True))
    left, gone = _residuals(result, found, x, data, key, options, machine or Machine(), watcher)
    linked = links(result, components) if level is None else ()
    groups = None
    if components[0].layer.symmetric and level is None:
        there = (x, key, options, machine or Machine(), watcher) if left is not None else None
        groups = clusters(result, components[0].order, components[0].v, there)
    return Study(result, components, form, given, known, left, gone, top, linked, _losses(result), groups)


def _asked(found: list[Layer], level: int | None) -> list[Layer]:
    """All layers, or the one of a level; raises `UsageError` where there is no such level."""
    if level is None:
        return found
    if found[0].level is None and level > 0:
        raise UsageError("the run has no levels, so there is no level to choose; leave it out")
    if not -1 <= level <= len(found) or level == 0:
        raise UsageError(f"level {level} is not one of the run's levels, 1 to {len(found)}")
    if found[0].level is None:
        return found
    return [found[level - 1] if level > 0 else found[-1]]


def _losses(result: Result) -> LayerLosses | None:
    model = result.model
    return model.layer_losses(result.state.following) if isinstance(model, HasLevels) else None


class _Faults:
    """Collects what is wrong, so that all of it is told at once."""

    def __init__(self) -> None:
        self.found: list[NmfkitError] = []

    def of(self, work: Any) -> Any:
        try:
            return work()
        except NmfkitError as error:
            self.found.append(error)

    def tell(self) -> None:
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            raise UsageError("\n".join(f"- {error}" for error in self.found))


def _known(path: str, result: Result) -> Reference:
    """The reference, in the columns of the components where it fits them, else in the features of X."""
    if not result.fits_columns:
        with suppress(UsageError):
            return read_reference(path, result.column_names, result.width)
    return read_reference(path, result.feature_names, result.shape[1])


def _added(result: Result) -> Array:
    """What a weight of 1 of each component adds to X̂ (r, n)."""
    h = result.model.factors(result.state.current)["h"]
    one = np.eye(len(h), dtype=h.dtype)
    made = restored(result.model, np.concatenate((one, np.zeros_like(one[:1]))), h, result.state.current)
    return made[:-1] - made[-1:]


def _ordered(
    layer: Layer, weights: Weights | None, reference: Reference | None, added: Array | None = None
) -> Components:
    mass = sizes_of(layer.v) * (weights.sums if weights else 1.0)
    order = np.argsort(-mass, kind="stable")
    total = float(mass.sum())
    shares = mass[order] / total if total > 0 else np.zeros(len(order))
    v, added = np.asarray(layer.v[order]), None if added is None else added[order]
    made = Components(layer, order, shares, v, weights and _reordered(weights, order), [], added)
    if reference is None:
        return made
    of_columns = reference.values.shape[1] == v.shape[1]
    return replace(made, matches=matches(v if of_columns else made.pictured, reference))


def _reordered(weights: Weights, order: Array) -> Weights:
    """The same with components in that order."""
    names = ("sums", "squares", "leads", "sample", "mass", "table", "maps")
    values = {name: getattr(weights, name) for name in names}
    gram = None if weights.gram is None else weights.gram[np.ix_(order, order)]
    return replace(weights, gram=gram, **{name: f[..., order] for name, f in values.items() if f is not None})


def _residuals(
    result: Result,
    found: list[Layer],
    x: Any,
    wanted: bool,
    key: str | None,
    options: Mapping[str, Any] | None,
    machine: Machine,
    watcher: Watcher,
) -> tuple[Residuals | None, str | None]:
    if not wanted:
        return None, None
    layer, others = found[0], [layer for layer in found[1:] if layer.level is not None]
    if layer.row is None:
        return None, f"the model has no factor of the rows that goes with {layer.shared}"
    if x is None and result.attributes["source"]["uri"] == IN_MEMORY:
        return None, "the run was fitted to data in memory, so there is nowhere to read them from"
    try:
        return residuals(result, layer, x, others, key=key, options=options, machine=machine, watcher=watcher), None
    except NmfkitError as error:
        if x is not None:
            raise  # data that were named must be there
        return None, str(error).removesuffix(": " + OTHERS)


def _hoyers(sums: Array, squares: Array, count: int) -> Array:
    """Hoyer's sparsity of each vector, as `score` has it on average."""
    return np.array([hoyer(sums[k : k + 1], squares[k : k + 1], count) for k in range(len(sums))])
