"""The Python door: fit, resume, transform, explain, load, plugins."""

from __future__ import annotations

import operator
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nmfkit.check import Resolved, cautions, check_data, check_source, resolve
from nmfkit.errors import Caution, StoreError, UsageError
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.plan import Layout, Plan, make_plan, parse_size
from nmfkit.explanation import Explanation, describe_source
from nmfkit.loop import Watcher, reason_to_stop
from nmfkit.probe import Probe, look, summarise
from nmfkit.problem import Problem
from nmfkit.protocols import Source
from nmfkit.registry import Registered, registry
from nmfkit.result import Result, load
from nmfkit.run import Run
from nmfkit.sources import open_source
from nmfkit.sources.fingerprint import fingerprint
from nmfkit.sources.staging import check_output
from nmfkit.start import Given
from nmfkit.store import RunStore
from nmfkit.versions import versions

__all__ = ["explain", "fit", "load", "plugins", "resume", "transform"]

IN_MEMORY = "memory"
"""The URI of a source that no path leads to."""


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
    init: Any = "random",
    w: Any = None,
    h: Any = None,
    seed: int = 0,
    max_sweeps: int = 200,
    tol: float = 1e-4,
    time_limit: float | None = None,
    dtype: str | None = None,
    model_options: Mapping[str, Any] | None = None,
    memory: str | int | None = None,
    threads: int | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    checkpoint_every: int | None = None,
    key: str | None = None,
    watcher: Watcher | None = None,
) -> Result:
    """Factorize X (m, n) into W (m, rank) and H (rank, n), nonnegative.

    `x` is an array, a SciPy sparse matrix, a zarr array or group, or a path or URI of anything readable. `w`
    and `h` are starting factors. Parts are texts (`"beta:0.5"`, `["l1:0.1"]`) or objects of your own. `memory`
    (bytes or "2GiB") bounds blocks, cache and rows of W; `threads` defaults to all processors. With `out` the
    run is written there as it goes, with a checkpoint every `checkpoint_every` sweeps (default: once a minute).
    Raises `UsageError` or `Incompatible` before any work, `DataError` or `SourceError` for what the data hold.
    """
    problem = make_problem(
        model=model, loss=loss, rank=rank, ranks=ranks, rule=rule, reg_w=reg_w, reg_h=reg_h, init=init, seed=seed,
        max_sweeps=max_sweeps, tol=tol, time_limit=time_limit, dtype=dtype, model_options=model_options,
    )  # fmt: skip
    return fit_problem(
        x, problem, w=w, h=h, memory=memory, threads=threads, out=out, overwrite=overwrite,
        checkpoint_every=checkpoint_every, key=key, watcher=watcher,
    )  # fmt: skip


def make_problem(*, rank: Any = None, ranks: Any = None, **fields: Any) -> Problem:
    """The problem of `fit`'s arguments; what differs from the defaults counts as named by the user."""
    if rank is not None and ranks is not None:
        raise UsageError("give rank or ranks, not both")
    chosen = ranks if ranks is not None else rank
    if chosen is None:
        raise UsageError("no rank is given; use rank=N (--rank N): the number of components")
    for name in ("reg_w", "reg_h"):
        given = fields.get(name) or ()
        fields[name] = tuple(given) if isinstance(given, list | tuple) else (given,)
    fields["ranks"] = tuple(map(_integer, chosen)) if isinstance(chosen, list | tuple) else (_integer(chosen),)
    for name in ("seed", "max_sweeps"):
        fields[name] = _integer(fields[name]) if name in fields else getattr(Problem(), name)
    if fields.get("dtype") is not None:
        fields["dtype"] = _dtype_name(fields["dtype"])
    options = fields.get("model_options") or {}
    if not isinstance(options, Mapping):
        raise UsageError(f"model_options {options!r} is not a mapping of names to values")
    fields["model_options"] = {str(k): str(v) for k, v in options.items()}
    default = Problem()
    named = frozenset(n for n, v in fields.items() if v is not getattr(default, n) and v != getattr(default, n))
    return Problem(**fields, named=named)


def fit_problem(
    x: Any,
    problem: Problem,
    *,
    w: Any = None,
    h: Any = None,
    memory: str | int | None = None,
    threads: int | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    checkpoint_every: int | None = None,
    key: str | None = None,
    watcher: Watcher | None = None,
) -> Result:
    """`fit` for a `Problem` made already."""
    watcher = watcher or Warner()
    _refuse_odd_options(threads=threads, checkpoint_every=checkpoint_every)
    resolved = resolve(problem)
    if out is not None:
        _refuse_unstorable(problem)
    source = open_source(x, key=key, dtype=problem.dtype)
    if out is not None:
        check_output(str(out), overwrite=overwrite, keep=[source.uri])
    check_source(resolved, source)
    plan = plan_for(source, resolved, memory=memory, threads=threads)
    with _running(source, plan, out, watcher) as executor:
        probe = _probe(executor, resolved, watcher)
        watcher.plan(plan, cautions(resolved, source.shape, probe))
        watcher.stage("start")
        initializer = resolved.initializer if w is None and h is None else Given(w, h, resolved.initializer)
        rows, shared = resolved.model.start(initializer, executor.sweep, probe, problem.seed, source.dtype)
        attributes = _attributes(resolved.problem, source, plan, probe, key)
        run = Run(
            resolved,
            source,
            attributes,
            out=out,
            overwrite=overwrite,
            checkpoint_every=checkpoint_every,
            watcher=watcher,
        )
        return run.begin(executor.sweep, rows, shared)


def resume(
    path: str | os.PathLike[str],
    x: Any = None,
    *,
    max_sweeps: int | None = None,
    tol: float | None = None,
    time_limit: float | None = None,
    memory: str | int | None = None,
    threads: int | None = None,
    checkpoint_every: int | None = None,
    watcher: Watcher | None = None,
) -> Result:
    """Continue the run at `path` from its last checkpoint, as if it had never stopped.

    The data are opened where the run found them; data that were given as an object must be given again as `x`. A
    finished run goes on with a larger `max_sweeps`, a smaller `tol` or a longer `time_limit`, as far as it was that
    which ended it. Memory and threads are those of the run unless given; the sums are formed in the same order on
    any number of threads, but not with another `memory`. Raises `StoreError` when the data have changed.
    """
    watcher = watcher or Warner()
    _refuse_odd_options(threads=threads, checkpoint_every=checkpoint_every)
    store = RunStore.open(path, mode="r+")
    attributes = store.attributes
    problem = Problem.from_stored(attributes["problem"])
    changes = {"max_sweeps": max_sweeps, "tol": tol, "time_limit": time_limit}
    problem = problem.replace(**{name: value for name, value in changes.items() if value is not None})
    resolved = resolve(problem)
    state = store.restore()
    if attributes["status"] == "done" and reason_to_stop(problem, list(state.history), 0.0):
        return load(path)
    source = _same_source(attributes["source"], x, problem)
    layout = attributes["layout"]
    plan = plan_for(
        source, resolved, memory=layout["memory"] if memory is None else memory, threads=threads,
        layout=Layout(layout["target"], layout["shards"], layout["tile_rows"]) if memory is None else None,
    )  # fmt: skip
    with _running(source, plan, path, watcher) as executor:
        _refuse_changed(_probe(executor, resolved, watcher), attributes["source"], source)
        watcher.plan(plan, _changed_versions(attributes["versions"]))
        attributes |= {"problem": problem.to_dict(), "versions": versions()}
        store.update(problem=attributes["problem"], versions=attributes["versions"])
        run = Run(
            resolved, source, attributes, out=path, store=store, checkpoint_every=checkpoint_every, watcher=watcher
        )  # fmt: skip
        return run.go_on(executor.sweep, state)


def transform(
    run: Result | str | os.PathLike[str],
    x: Any,
    *,
    max_sweeps: int = 200,
    tol: float = 1e-5,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    memory: str | int | None = None,
    threads: int | None = None,
    key: str | None = None,
    watcher: Watcher | None = None,
) -> Any:
    """Rows (m', rank) of W for new data `x` (m', n) on the fitted components.

    One read of `x` looks for entries that would spoil it, a second one fits: each block is updated until no entry
    moves by more than `tol` of the largest, at most `max_sweeps` times. With `out`, a zarr group with `w` is written
    there, and that array is returned unread. Raises `UsageError` when the features differ in number.
    """
    watcher = watcher or Warner()
    if not (isinstance(tol, float | int) and tol >= 0):
        raise UsageError(f"tol {tol!r} is not a number ≥ 0")
    _refuse_odd_options(threads=threads, max_sweeps=max_sweeps)
    result = run if isinstance(run, Result) else load(run)
    resolved = resolve(result.problem)
    shared = result.state.current
    dtype = next(iter(resolved.model.factors(shared).values())).dtype
    source = open_source(x, key=key, dtype=np.dtype(dtype).name)
    if out is not None:
        fitted = result.attributes["source"]["uri"]
        check_output(str(out), overwrite=overwrite, keep=[source.uri, result.path, fitted])
    if source.shape[1] != result.shape[1]:
        raise UsageError(f"the run has {result.shape[1]} features, and {source.uri} has {source.shape[1]}")
    plan = plan_for(source, resolved, memory=memory, threads=threads)
    with _running(source, plan, out, watcher) as executor:
        watcher.stage("probe")
        _, found = executor.sweep(look, None, {})
        if found["nonzero"]:
            check_data(resolved, summarise(source.shape, found), source.dtype)
        watcher.stage("transform")
        rows, _ = executor.sweep(
            resolved.model.encode, None, {**shared, "encode.sweeps": max_sweeps, "encode.tol": tol}
        )
        if out is not None:
            from nmfkit.transformed import write_transformed

            return write_transformed(out, rows, source, result, overwrite=overwrite)
        return rows.read(0, source.shape[0])[resolved.model.row_factors[0]]


def explain(
    x: Any,
    *,
    memory: str | int | None = None,
    threads: int | None = None,
    key: str | None = None,
    problem: Problem | None = None,
    **fields: Any,
) -> Explanation:
    """What `fit` would do with the same arguments: parts and their origins, blocks, bytes, memory; runs nothing."""
    for name in ("w", "h", "out", "overwrite", "checkpoint_every", "watcher"):
        fields.pop(name, None)
    problem = problem or make_problem(**fields)
    resolved = resolve(problem)
    source = open_source(x, key=key, dtype=problem.dtype)
    check_source(resolved, source)
    plan = plan_for(source, resolved, memory=memory, threads=threads)
    notes = cautions(resolved, source.shape)
    return Explanation(resolved, describe_source(source), plan, tuple(notes))


def plugins() -> list[Registered]:
    """Every part on offer, with its kind, summary and distribution."""
    return [part for kind in _kinds() for part in registry().of_kind(kind)]


def plan_for(
    source: Source,
    resolved: Resolved,
    *,
    memory: str | int | None,
    threads: int | None,
    layout: Layout | None = None,
) -> Plan:
    """The plan of a fit of `resolved` on `source`; `layout` repeats that of an earlier one."""
    return make_plan(
        source,
        width=sum(resolved.problem.ranks),
        dtype=source.dtype,
        elementwise=resolved.model.elementwise,
        forms_product=resolved.model.forms_product,
        memory=None if memory is None else parse_size(memory),
        threads=threads,
        layout=layout,
    )


def _probe(executor: LocalExecutor, resolved: Resolved, watcher: Watcher) -> Probe:
    watcher.stage("probe")
    _, found = executor.sweep(look, None, {})
    probe = summarise(executor.source.shape, found)
    check_data(resolved, probe, executor.source.dtype)
    return probe


@contextmanager
def _running(
    source: Source, plan: Plan, out: str | os.PathLike[str] | None, watcher: Watcher
) -> Iterator[LocalExecutor]:
    scratch = Path(out).absolute().parent if out is not None and "://" not in str(out) else None
    executor = LocalExecutor(
        source, plan, scratch=scratch if scratch and scratch.is_dir() else None, on_block=watcher.block
    )
    try:
        yield executor
    finally:
        executor.close()


def _attributes(problem: Problem, source: Source, plan: Plan, probe: Probe, key: str | None) -> dict[str, Any]:
    text = problem.to_dict()
    return {
        "problem": text,
        "seed": problem.seed,
        "versions": versions(),
        "source": {
            "uri": source.uri,
            "key": key,
            "shape": list(source.shape),
            "dtype": np.dtype(source.dtype).name,
            "sparse": source.is_sparse,
            "fingerprint": fingerprint(source),
            "sums": probe.sums(),
        },
        "layout": {**asdict(plan.layout), "memory": plan.given_memory},
    }


def _same_source(stored: Mapping[str, Any], x: Any, problem: Problem) -> Source:
    if x is None:
        uri = stored["uri"]
        if uri == IN_MEMORY:
            raise StoreError("the run was fitted to data in memory; pass the same data again: nmfkit.resume(path, X)")
        x = uri
    source = open_source(x, key=stored.get("key"), dtype=problem.dtype or stored["dtype"])
    if list(source.shape) != list(stored["shape"]) or fingerprint(source) != stored["fingerprint"]:
        raise StoreError(
            f"the data at {source.uri} ({source.shape[0]} × {source.shape[1]}) are not those that the run was fitted "
            f"to ({stored['shape'][0]} × {stored['shape'][1]}): continuing would mix two matrices; fit anew instead"
        )
    return source


def _changed_versions(stored: Mapping[str, str]) -> list[str]:
    now = versions()
    changed = [
        f"{name} {was} is now {now.get(name, 'missing')}" for name, was in stored.items() if now.get(name) != was
    ]
    if not changed:
        return []
    return [f"the run goes on with other software than it began with, so digits may differ: {', '.join(changed)}"]


def _refuse_changed(probe: Probe, stored: Mapping[str, Any], source: Source) -> None:
    for name, now in probe.sums().items():
        was = stored["sums"][name]
        if abs(now - was) > 1e-9 * max(abs(now), abs(was)):
            raise StoreError(
                f"the data at {source.uri} have changed since the run began ({name} of the entries {was!r}, now "
                f"{now!r}): continuing would mix two matrices; fit anew instead"
            )


def _refuse_odd_options(**options: Any) -> None:
    """Counts that are given must be whole numbers of at least 1."""
    faults = [
        f"{name.replace('_', '-')} {value!r} is not a whole number ≥ 1"
        for name, value in options.items()
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1)
    ]
    if faults:
        raise UsageError("; ".join(faults))


class Warner(Watcher):
    """Hands cautions to Python's warnings, for fits without a watcher."""

    def plan(self, plan: Any, cautions: list[str]) -> None:
        """One `Caution` each."""
        del plan
        for sentence in cautions:
            warnings.warn(sentence, Caution, stacklevel=4)


def _refuse_unstorable(problem: Problem) -> None:
    parts = (problem.model, problem.loss, problem.rule, problem.init, *problem.reg_w, *problem.reg_h)
    objects = [repr(p) for p in parts if not isinstance(p, str)]
    if objects:
        raise UsageError(
            f"{', '.join(objects)} cannot be stored in a run, which holds parts as text: register them as a plugin, "
            "or fit without out="
        )


def _integer(value: Any) -> int:
    try:
        return value if isinstance(value, bool) else operator.index(value)  # Problem refuses a bool by name
    except TypeError:
        raise UsageError(f"{value!r} is not a whole number") from None


def _dtype_name(dtype: Any) -> str:
    try:
        return str(np.dtype(dtype).name)
    except TypeError:
        raise UsageError(f"dtype {dtype!r} is not one of float32, float64") from None


def _kinds() -> list[str]:
    from nmfkit.hookspecs import KINDS

    return list(KINDS)
