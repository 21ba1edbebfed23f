"""The Python door: fit, resume, transform, explain, load, plugins."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Unpack

import numpy as np

from nmfkit.arguments import make_problem, refuse_odd_counts, refuse_unstorable
from nmfkit.check import Resolved, cautions, check_data, check_source, resolve, resolve_for
from nmfkit.errors import Caution, UsageError
from nmfkit.executors.machine import Machine, MachineOptions
from nmfkit.executors.open import executing, spread
from nmfkit.executors.plan import Layout
from nmfkit.explanation import explain
from nmfkit.features import refuse_other_features
from nmfkit.hookspecs import KINDS
from nmfkit.interrupts import noticed
from nmfkit.levels import at_every_level, by_name
from nmfkit.lifecycle import attended
from nmfkit.loop import Watcher
from nmfkit.origin import IN_MEMORY, changed_versions, describe_data, refuse_changed, reopen
from nmfkit.pilot import pilot_share, piloted
from nmfkit.probe import Expected, Probe, survey
from nmfkit.problem import Problem
from nmfkit.protocols import Calibrates, Executor, Relative
from nmfkit.registry import Registered, registry
from nmfkit.result import Result, load
from nmfkit.run import Run
from nmfkit.sample import Picked
from nmfkit.sketch import Sketches, sketched
from nmfkit.sources.observed import data_places, elsewhere, known_missing, open_observed, places
from nmfkit.sources.staging import check_output
from nmfkit.sources.uri import is_remote
from nmfkit.start import Given
from nmfkit.stopping import Gauge, reason_of, reason_to_stop
from nmfkit.store import RunStore
from nmfkit.transformed import alone, write_transformed
from nmfkit.versions import versions

__all__ = ["convert", "explain", "fit", "load", "plugins", "resume", "transform"]


def fit(
    x: Any,
    *,
    model: Any = "nmf",
    loss: Any = "frobenius",
    rank: int | Sequence[int] | None = None,
    ranks: Sequence[int] | None = None,
    rule: Any = "auto",
    reg_w: Any = (),
    reg_h: Any = (),
    init: Any = "auto",
    w: Any = None,
    h: Any = None,
    pilot: str | int = "auto",
    seed: int = 0,
    max_sweeps: int = 200,
    tol: float = 1e-4,
    time_limit: float | None = None,
    dtype: str | None = None,
    model_options: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    checkpoint_every: int | None = None,
    key: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    mask: Any = None,
    weights: Any = None,
    missing: str = "none",
    watcher: Watcher | None = None,
    **machine: Unpack[MachineOptions],
) -> Result:
    """Factorize X (m, n) into W (m, rank) and H (rank, n), nonnegative.

    `x` is an array, a SciPy sparse matrix, a zarr array or group, an AnnData object, a dask array, a path or a URI.
    `w` and `h` are starting factors; where X has many rows, a `pilot` fit of some of them ("auto", "none", or a number)
    gives all a better start, unless the given one is better. Parts are texts (`"beta:0.5"`, `["l1:0.1"]`) or objects
    of your own. With `out` the run is written there as it goes, with a checkpoint every `checkpoint_every` sweeps
    (default: once a minute).
    `mask` (m, n) is zero where an entry of X is missing, `weights` (m, n) ≥ 0 say how much each entry counts; both may
    be anything that X may be, and sparse ones know nothing of what they do not store. `missing` "nan" takes NaN for
    missing entries, "absent" whatever a sparse X does not store.
    `machine` says where the work is done and what it may use, as `memory="2GiB"`, `threads=4` or `workers=2`: see
    `MachineOptions`. `storage_options` open data at a URI and are not stored. Raises `UsageError` or `Incompatible`
    before any work, `DataError` or `SourceError` for what the data hold, `ClusterError` for the cluster, `GpuError`
    where a GPU is asked for and none can be used.
    """
    problem = make_problem(
        model=model, loss=loss, rank=rank, ranks=ranks, rule=rule, reg_w=reg_w, reg_h=reg_h, init=init,
        pilot=str(pilot), seed=seed, max_sweeps=max_sweeps, tol=tol, time_limit=time_limit, dtype=dtype,
        model_options=model_options,
    )  # fmt: skip
    return fit_problem(
        x, problem, w=w, h=h, out=out, overwrite=overwrite, checkpoint_every=checkpoint_every, key=key,
        storage_options=storage_options, mask=mask, weights=weights, missing=missing, watcher=watcher, **machine,
    )  # fmt: skip


def fit_problem(
    x: Any,
    problem: Problem,
    *,
    w: Any = None,
    h: Any = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    checkpoint_every: int | None = None,
    key: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    mask: Any = None,
    weights: Any = None,
    missing: str = "none",
    watcher: Watcher | None = None,
    **machine: Unpack[MachineOptions],
) -> Result:
    """`fit` for a `Problem` made already."""
    watcher = watcher or Warner()
    place = Machine.ready(machine)
    refuse_odd_counts(checkpoint_every=checkpoint_every)
    resolved = resolve(problem)
    starting = Given(w, h, resolved.initializer, len(problem.ranks), Expected.by(resolved.model).signed_components)
    starting.refuse_unused(problem.model)
    if out is not None:
        refuse_unstorable(problem)
    source = open_observed(
        x, key=key, dtype=problem.dtype, storage_options=_of_source(x, storage_options, out), mask=mask,
        weights=weights, missing=missing,
    )  # fmt: skip
    if out is not None:
        check_output(str(out), overwrite=overwrite, keep=places(source), options=storage_options)
    resolved = resolve_for(source, problem, resolved)
    check_source(resolved, source)
    with (
        noticed(),
        attended(watcher, resolved.problem, source, out=out, options=storage_options) as watcher,
        executing(source, resolved, place, out=out, options=storage_options, watcher=watcher) as executor,
    ):
        plan = executor.plan
        sketches = isinstance(resolved.ingredients.rule, Sketches)
        rows_first = pilot_share(resolved, source, plan)
        probe = _probe(executor, resolved, watcher, rows_first)
        watcher.plan(plan, cautions(resolved, source.shape))
        attributes = {
            "problem": resolved.problem.to_dict(),
            "seed": problem.seed,
            "versions": versions() | place.software,
            "source": describe_data(source, probe, key),
            "layout": {**asdict(plan.layout), "memory": plan.given_memory},
        }
        run = Run(
            resolved, source, executor, attributes, out=out, overwrite=overwrite, options=storage_options,
            checkpoint_every=checkpoint_every, watcher=watcher,
        )  # fmt: skip
        try:
            watcher.stage("start")
            given = w is not None or h is not None
            initializer = starting if given else resolved.initializer
            rows, shared = resolved.model.start(initializer, executor.sweep, probe, problem.seed, source.dtype)
            if rows_first:
                watcher.stage("pilot")
                rows, shared = piloted(resolved, executor, probe, rows, shared, given=given)
                probe = replace(probe, sample=Picked())  # its rows are of no more use
            if sketches:
                watcher.stage("sketch")
                rows, shared = sketched(resolved, executor, probe, rows, shared, given=given, note=watcher.note)
            if isinstance(resolved.model, Calibrates) and _measured(resolved):
                watcher.stage("calibrate")
                rows, shared = resolved.model.calibrate(rows, shared, executor.sweep)
            return run.begin(rows, shared)
        except BaseException:
            run.abandon()
            raise


def resume(
    path: str | os.PathLike[str],
    x: Any = None,
    *,
    max_sweeps: int | None = None,
    tol: float | None = None,
    time_limit: float | None = None,
    key: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    mask: Any = None,
    weights: Any = None,
    checkpoint_every: int | None = None,
    watcher: Watcher | None = None,
    **machine: Unpack[MachineOptions],
) -> Result:
    """Continue the run at `path` from its last checkpoint, as if it had never stopped.

    The data are opened where the run found them; data that were given as an object must be given again as `x`, and
    so must a `mask` and `weights`. A
    finished run goes on with a larger `max_sweeps`, a smaller `tol` or a longer `time_limit`, as far as it was that
    which ended it. It may go on elsewhere than it began (`machine`, as in `fit`). The memory is that of the run unless
    given; the sums are formed in the same order on any number of threads or workers, but not with another `memory`.
    Raises `StoreError` when the data have changed.
    """
    watcher = watcher or Warner()
    place = Machine.ready(machine)
    refuse_odd_counts(checkpoint_every=checkpoint_every)
    store = RunStore.open(path, mode="r+", options=storage_options)
    attributes = store.attributes
    problem = Problem.from_stored(attributes["problem"])
    changes = {"max_sweeps": max_sweeps, "tol": tol, "time_limit": time_limit}
    problem = problem.replace(**{name: value for name, value in changes.items() if value is not None})
    resolved = resolve(problem)
    state = store.restore()
    gauge = Gauge.of(resolved.model, state.following)
    reason = reason_to_stop(problem, list(state.history), 0.0, gauge)
    if attributes["status"] == "done" and (reason or reason_of(resolved.model, lambda: state.following)):
        return load(path, storage_options=storage_options)
    data = attributes["source"]["uri"] if x is None else x
    source = reopen(attributes["source"], x, key, problem, _of_source(data, storage_options, path), mask, weights)
    resolved = resolve_for(source, problem, resolved)
    layout = _stored_layout(attributes["layout"]) if place.memory is None else None
    place = replace(place, memory=place.memory or attributes["layout"]["memory"])
    with (
        noticed(),
        attended(watcher, resolved.problem, source, out=path, options=storage_options, earlier=state) as watcher,
        executing(
            source, resolved, place, out=path, options=storage_options, watcher=watcher, layout=layout
        ) as executor,
    ):
        probe = _probe(executor, resolved, watcher)
        refuse_changed(probe, attributes["source"], source)
        if source.uri not in (attributes["source"]["uri"], IN_MEMORY):
            attributes["source"] = describe_data(source, probe, key)  # where the next resume finds them
            store.update(source=attributes["source"])
        now = versions() | place.software
        watcher.plan(executor.plan, changed_versions(attributes["versions"], now))
        attributes |= {"problem": problem.to_dict(), "versions": now}
        store.update(problem=attributes["problem"], versions=attributes["versions"])
        run = Run(
            resolved, source, executor, attributes, out=path, options=storage_options, store=store,
            checkpoint_every=checkpoint_every, watcher=watcher,
        )  # fmt: skip
        return run.go_on(state)


def transform(
    run: Result | str | os.PathLike[str],
    x: Any,
    *,
    max_sweeps: int = 200,
    tol: float = 1e-5,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    key: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    mask: Any = None,
    weights: Any = None,
    missing: str | None = None,
    watcher: Watcher | None = None,
    **machine: Unpack[MachineOptions],
) -> Any:
    """Rows (m', rank) of W for new data `x` (m', n) on the fitted components.

    A model with several row factors or levels gives a dict of them by name: `{"w1": …, "w2": …}`, and `"level2"` for
    the coefficients of a level that are a product of factors.
    One read of `x` looks for entries that would spoil it, a second one fits: each block is updated until no entry
    moves by more than `tol` of the largest, at most `max_sweeps` times. With `out`, a zarr group with `w`, or all of
    these factors, is written there, and the arrays are returned unread. `mask`, `weights` and `machine` as in `fit`;
    `missing` None is what it was there. Raises `UsageError` when the features differ in number, or have the same names
    in another order.
    """
    watcher = watcher or Warner()
    if not (isinstance(tol, float | int) and tol >= 0):
        raise UsageError(f"tol {tol!r} is not a number ≥ 0")
    place = Machine.ready(machine)
    refuse_odd_counts(max_sweeps=max_sweeps)
    result = run if isinstance(run, Result) else load(run, storage_options=_of_source(run, storage_options, out, x))
    missing = known_missing(result.attributes) if missing is None else missing
    shared = result.state.current
    dtype = next(iter(result.model.factors(shared).values())).dtype
    source = open_observed(
        x, key=key, dtype=np.dtype(dtype).name, storage_options=_of_source(x, storage_options, out, run), mask=mask,
        weights=weights, missing=missing,
    )  # fmt: skip
    if out is not None:
        needed = [*places(source), result.path, *data_places(result.attributes["source"])]
        check_output(str(out), overwrite=overwrite, keep=needed, options=storage_options)
    refuse_other_features(result, source)
    resolved = resolve(result.problem, elsewhere=elsewhere(source))
    check_source(resolved, source, others=True)
    with executing(source, resolved, place, out=out, options=storage_options, watcher=watcher) as executor:
        watcher.stage("probe")
        probe = survey(executor.sweep, source, empty=True, expected=Expected.of_rows(resolved.model))
        if probe.nonzero:
            check_data(resolved, probe, source.dtype)
        watcher.stage("transform")
        rows, _ = executor.sweep(
            resolved.model.encode, None, {**shared, "encode.sweeps": max_sweeps, "encode.tol": tol}
        )
        rows = at_every_level(rows, resolved.model, shared)
        if out is not None:
            return write_transformed(
                out, rows, source, result, executor.each, overwrite=overwrite, options=storage_options
            )
        return alone(by_name(rows.read(0, source.shape[0]), resolved.model))


def convert(
    src: Any,
    dst: str | os.PathLike[str],
    *,
    transpose: bool = False,
    similarity: Any = None,
    dtype: Any = None,
    chunk_mb: float = 8,
    key: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    watcher: Watcher | None = None,
    **machine: Unpack[MachineOptions],
) -> dict[str, Any]:
    """Write `src` to the directory `dst` as zarr that streams well by row blocks; returns what was written.

    A dense matrix becomes the array `X` in chunks of whole rows of about `chunk_mb` MiB, a sparse one a CSR group in
    AnnData's layout; names of rows and features go along. `similarity` ("knn", "cosine", "graph" or one with options)
    writes the similarity matrix of the rows instead, as `nmfkit.similarity` makes it. With workers (`machine`, as in
    `fit`) the rows are shared out among them. `dst` appears only when complete. Raises `StoreError` where it exists
    without `overwrite`, or cannot be written.
    """
    from nmfkit.sources.convert import convert as write

    place, watcher = Machine.on_processors(machine, "convert"), watcher or Watcher()
    if similarity is not None:
        from nmfkit.affinity.similarity import convert_similarity

        if transpose:
            raise UsageError("similarity is that of the rows; for that of the features, write the transpose first")
        return convert_similarity(
            src, dst, similarity, dtype=dtype, chunk_mb=chunk_mb, key=key, overwrite=overwrite,
            storage_options=storage_options, machine=place, watcher=watcher,
        )  # fmt: skip
    with spread(place, out=dst, watcher=watcher) as each:
        return write(
            src, os.fspath(dst), transpose=transpose, dtype=dtype, chunk_mb=chunk_mb, key=key, overwrite=overwrite,
            storage_options=storage_options, each=each,
        )  # fmt: skip


def plugins() -> list[Registered]:
    """Every part on offer, with its kind, summary and distribution."""
    return [part for kind in KINDS for part in registry().of_kind(kind)]


def _measured(resolved: Resolved) -> bool:
    """Whether a weight is to be measured by the loss at the start."""
    parts = resolved.ingredients
    return any(isinstance(part, Relative) and part.relative for part in (*parts.reg_w, *parts.reg_h))


def _of_source(x: Any, options: Mapping[str, Any] | None, *others: Any) -> Mapping[str, Any] | None:
    """The storage options as far as they are meant for `x`: not where only `others` are at a URI."""
    meant = isinstance(x, str) and is_remote(x)
    return options if meant or not any(isinstance(o, str) and is_remote(o) for o in others) else None


def _stored_layout(stored: Mapping[str, Any]) -> Layout:
    """The layout of a run, from its attributes."""
    fan_in, groups, pool = stored.get("fan_in", 0), stored.get("groups", 1), stored.get("pool", 0)
    return Layout(stored["target"], stored["shards"], stored["tile_rows"], fan_in, groups, pool)


def _probe(executor: Executor, resolved: Resolved, watcher: Watcher, share: float = 0.0) -> Probe:
    watcher.stage("probe")
    probe = survey(executor.sweep, executor.source, share=share, expected=Expected.by(resolved.model))
    check_data(resolved, probe, executor.source.dtype)
    watcher.found(probe)
    return probe


class Warner(Watcher):
    """Hands cautions to Python's warnings, for fits without a watcher."""

    def plan(self, plan: Any, cautions: list[str]) -> None:
        """One `Caution` each."""
        del plan
        for sentence in cautions:
            warnings.warn(sentence, Caution, stacklevel=5)
