"""How good a factorization is: one or two reads of the data, a block of rows in memory at a time."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Unpack

import numpy as np

from nmfkit.blocks import Array
from nmfkit.check import check_data, check_source, resolve
from nmfkit.clustering import Agreement, agreement, classes_of
from nmfkit.embedding.of_run import Asked, brought
from nmfkit.embedding.quality import Quality
from nmfkit.errors import StoreError
from nmfkit.executors.machine import Machine, MachineOptions
from nmfkit.executors.open import executing
from nmfkit.features import refuse_other_features
from nmfkit.judging import ColumnSums, Judge, Product, error_text, is_quadratic, measure_of, products_of
from nmfkit.levels import levels_of
from nmfkit.loop import Watcher
from nmfkit.origin import IN_MEMORY, observed_again
from nmfkit.probe import Expected, survey
from nmfkit.protocols import HasLevels, HasView, Model, Shared, Source, Stats
from nmfkit.result import Result, load
from nmfkit.sources import open_source
from nmfkit.sources.fingerprint import fingerprint
from nmfkit.sources.observed import elsewhere, holes, known_missing, open_observed
from nmfkit.sources.uri import is_remote

ENCODE = {"encode.sweeps": 200, "encode.tol": 1e-5}
"""How rows of other data are fitted, as `transform` does."""


@dataclass(frozen=True)
class LevelScore:
    """The judgement of one level of a model with several, on the data that the whole run is judged on.

    `loss` and `relative_error` are of X against the level's product, `sparsity` is Hoyer's of the level's components in
    the features of X, `shares` as those of a run. `layer_loss` is the loss of the layer alone, of what it factorizes
    against its own two factors; `layer_loss_at_start` was that of the start, layer by layer, `ratio` is the one over
    the other, and `weight` what it counts in the objective. These are of the fit, and None on other data.
    """

    level: int
    rank: int
    loss: float
    relative_error: float
    sparsity: float
    shares: tuple[float, ...]
    layer_loss: float | None
    layer_loss_at_start: float | None
    ratio: float | None
    weight: float | None


@dataclass(frozen=True)
class Score:
    """The judgement of a run on data.

    `objective` is the stored one, None on other data; `loss` that of WH without regularizers. `relative_error` is
    √(loss / loss of ŷ = 0) for a quadratic loss, so ‖X − WH‖ / ‖X‖ for Frobenius, and for any other the loss over that
    of the product of X's row and column sums; `measure` says which. A model that takes no loss is judged by
    ½‖X − WH‖², or by a measure of its own (`Judged`); of a model with a view of X (`HasView`), all this is of what it
    makes of X. `sparsity` is Hoyer's, by factor, and `shares[k]` the part of the entries' sum that component k makes,
    sizes in place of entries where some are negative. Of a model with levels, these are of the first one, next to the
    data, and `levels` has all. `clustering` compares the groups of the rows with known classes, if there are any, and
    `embedding` what the rows of W keep of neighbourhoods and tell of classes, where that was asked for.
    """

    source: str
    objective: float | None
    loss: float
    relative_error: float
    measure: str
    sparsity: dict[str, float]
    shares: tuple[float, ...]
    levels: tuple[LevelScore, ...] = ()
    clustering: Agreement | None = None
    embedding: Quality | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return asdict(self)


def score(
    run: Result | str | os.PathLike[str],
    x: Any = None,
    *,
    labels: Any = None,
    neighbours: int | str | Sequence[int | str] | None = None,
    sample: int | str | None = None,
    key: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    mask: Any = None,
    weights: Any = None,
    missing: str | None = None,
    watcher: Watcher | None = None,
    **machine: Unpack[MachineOptions],
) -> Score:
    """Judge `run` on the data that it was fitted to, or on other data `x` whose rows are fitted to its H first.

    `labels` are known classes of the rows, an array (m,) or a path as `classes_of` takes them: the component that
    weighs most in each row is compared with its class, and so are nearest rows and clusters of W. With `neighbours`,
    one number or several, trustworthiness and continuity tell how far the rows of W keep the neighbourhoods of those of
    X; for a model whose rows embed X (`Embeds`) they do unasked. `sample` rows are compared, or "all", by default 3,000
    at most; see `nmfkit.embedding`. Where entries are missing or have weights, they are judged as
    they were fitted; `mask`, `weights` and `missing` are those of other data, `machine` as in `fit`.
    """
    place = Machine.ready(machine)
    watcher = watcher or Watcher()
    options = storage_options
    result = run if isinstance(run, Result) else load(run, storage_options=options if is_remote(str(run)) else None)
    resolved = resolve(result.problem)
    shared = result.state.current
    products = products_of(result, resolved)
    dtype = products[0].v.dtype
    if x is None:
        source = _own_source(result, options, mask, weights)
    else:
        missing = known_missing(result.attributes) if missing is None else missing
        source = _other_source(result, x, key, dtype, options, mask, weights, missing)
    known = None if labels is None else classes_of(labels, source.shape[0], _row_names(result, source, own=x is None))
    if (weights := elsewhere(source)) is not None:
        resolved = resolve(result.problem, elsewhere=weights)
        check_source(resolved, source, others=x is not None)
    asked = Asked.of(result, resolved.model, source, neighbours, known, sample)
    with executing(source, resolved, place, out=result.path, options=options, watcher=watcher) as executor:
        watcher.stage("probe")
        probe = survey(executor.sweep, executor.source, expected=Expected.of_rows(resolved.model))
        check_data(resolved, probe)
        watcher.stage("score")
        model = resolved.model
        measure, view = measure_of(model, resolved.ingredients.loss), model.view if isinstance(model, HasView) else None
        columns, total = probe.columns, probe.total
        if view is not None and not is_quadratic(measure):  # else nobody asks for them
            _, columns = executor.sweep(ColumnSums(view), None, shared)
            total = float(np.sum(columns))
        encode = model.encode if x is not None else None
        profile = columns / (total or 1.0)  # a sum of both signs may vanish
        judge = Judge(measure, products, profile, encode, grouping=known is not None, view=view)
        rows = result.state.rows if x is None else None
        _, stats = executor.sweep(judge, rows, {**shared, **ENCODE})
        compared = (
            None if asked is None else brought(asked, executor, source, products[0], rows, encode, {**shared, **ENCODE})
        )
    found = _score(result, model, source, stats, products, judge.quadratic, own=x is None)
    if known is not None:
        found = replace(found, clustering=agreement(stats["labels"].whole(), known))
    return found if compared is None else replace(found, embedding=compared.judged(model, shared, watcher))


def _row_names(result: Result, source: Source, *, own: bool) -> Sequence[str] | None:
    return result.row_names if own else source.row_names


def _score(
    result: Result,
    model: Model,
    source: Source,
    stats: Stats,
    products: tuple[Product, ...],
    quadratic: bool,
    *,
    own: bool,
) -> Score:
    errors = [_relative(loss, stats["reference"], quadratic) for loss in stats["losses"]]
    return Score(
        source=source.uri,
        objective=result.objective if own else None,
        loss=stats["losses"][0],
        relative_error=errors[0],
        measure=_measure(result, products[0]) if quadratic else "loss / loss of the product of row and column sums",
        sparsity=_sparsities(model, result.state.current, stats, source.shape[0]),
        shares=_shares(products[0], stats),
        levels=tuple(_levels(model, result.state.following, stats, products, errors, own=own)),
    )


def _measure(result: Result, product: Product) -> str:
    """What the relative error is."""
    made = error_text(result, product.v)
    return f"{made}, Y made of X by the model" if result.is_viewed else made


def _relative(loss: float, reference: float, quadratic: bool) -> float:
    ratio = loss / reference if reference > 0 else math.nan
    return math.sqrt(max(0.0, ratio)) if quadratic else ratio


def _shares(product: Product, stats: Stats) -> tuple[float, ...]:
    used = stats["sums"][product.row]
    used = used if product.chain is None else used @ product.chain
    mass = used * np.sum(np.abs(product.v), axis=1, dtype=np.float64)
    return tuple(float(s) for s in mass / max(float(np.sum(mass)), np.finfo(np.float64).tiny))


def _sparsities(model: Model, shared: Shared, stats: Stats, count: int) -> dict[str, float]:
    """Hoyer's of every factor: of its columns where it weighs components, else of its rows."""
    found = {name: hoyer(sums, stats["squares"][name], count) for name, sums in stats["sums"].items()}
    weighing = {name for level in levels_of(model, shared) for name in level.chain}
    factors = {name: np.asarray(f) for name, f in model.factors(shared).items()}
    return found | {name: _of_rows(f.T if name in weighing else f) for name, f in factors.items()}


def _of_rows(f: Array) -> float:
    wide = np.abs(f.astype(np.float64))
    return hoyer(np.sum(wide, axis=1), np.sum(np.square(wide), axis=1), f.shape[1])


def _levels(
    model: Model, following: Shared, stats: Stats, products: tuple[Product, ...], errors: Sequence[float], *, own: bool
) -> Iterator[LevelScore]:
    if not isinstance(model, HasLevels):
        return
    losses = model.layer_losses(following)
    for i, made in enumerate(products):
        end, start = float(losses.end[i]), float(losses.start[i])
        yield LevelScore(
            level=i + 1,
            rank=len(made.v),
            loss=stats["losses"][i],
            relative_error=errors[i],
            sparsity=_of_rows(made.v),
            shares=_shares(made, stats),
            layer_loss=end if own else None,
            layer_loss_at_start=start if own else None,
            ratio=(end / start if start > 0 else math.nan) if own else None,
            weight=float(losses.weights[i]) if own else None,
        )


def hoyer(sums: Array, squares: Array, count: int) -> float:
    """(√p − ‖v‖₁ / ‖v‖₂) / (√p − 1) averaged over vectors of p = `count` entries that are not zero.

    The vectors are known by the sums of the sizes of their entries and of the squares; NaN where p = 1 or all are zero.
    """
    used = squares > 0
    if count < 2 or not bool(np.any(used)):
        return math.nan
    ratio = sums[used] / np.sqrt(squares[used])
    # Rounding may take a vector of equal entries a hair beyond the bounds.
    return float(np.mean(np.clip((math.sqrt(count) - ratio) / (math.sqrt(count) - 1), 0, 1)))


def _own_source(result: Result, options: Mapping[str, Any] | None, mask: Any, weights: Any) -> Source:
    """The data of the fit, if they are where they were and as they were."""
    stored = result.attributes["source"]
    if stored["uri"] == IN_MEMORY:
        raise StoreError("the run was fitted to data in memory; name the data: nmfkit.score.score(run, X)")
    source = open_source(
        stored["uri"],
        key=stored.get("key"),
        dtype=stored["dtype"],
        storage_options=options,
        missing=holes(known_missing(result.attributes)),
    )
    if fingerprint(source) != stored["fingerprint"]:
        raise StoreError(
            f"the data at {source.uri} have changed since the fit; name the data to score the components on them: "
            f"nmfkit score {shlex.quote(str(result.path))} {shlex.quote(source.uri)}"
        )
    return observed_again(source, stored, mask, weights)


def _other_source(
    result: Result,
    x: Any,
    key: str | None,
    dtype: Any,
    options: Mapping[str, Any] | None,
    mask: Any,
    weights: Any,
    missing: str,
) -> Source:
    source = open_observed(
        x, key=key, dtype=np.dtype(dtype).name, storage_options=options, mask=mask, weights=weights, missing=missing
    )
    refuse_other_features(result, source)
    return source
