"""The Python door: fit, resume, transform, explain, load, plugins."""

from __future__ import annotations

import operator
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nmfkit.check import Resolved, cautions, check_data, resolve
from nmfkit.errors import Interrupted, StoreError, UsageError
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.plan import Plan, make_plan, parse_size
from nmfkit.explanation import Explanation, describe_source
from nmfkit.interrupts import deferred
from nmfkit.loop import State, Watcher, iterate
from nmfkit.probe import look, summarise
from nmfkit.problem import Problem
from nmfkit.protocols import RowStore, Shared, Source
from nmfkit.registry import Registered, registry
from nmfkit.result import Result, load
from nmfkit.sources import open_source
from nmfkit.sources.fingerprint import fingerprint
from nmfkit.sources.staging import check_output
from nmfkit.start import Given
from nmfkit.store import RunStore
from nmfkit.versions import versions

__all__ = ["explain", "fit", "load", "plugins", "resume", "transform"]

IN_MEMORY = "memory"
"""The URI of a source that no path leads to."""

CHECKPOINT_SECONDS = 60.0
"""Time between checkpoints when no number of sweeps is given."""


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
    fields["model_options"] = {str(k): str(v) for k, v in (fields.get("model_options") or {}).items()}
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
    watcher = watcher or Watcher()
    started = time.monotonic()
    resolved = resolve(problem)
    if out is not None:
        _refuse_unstorable(problem)
    source = open_source(x, key=key, dtype=problem.dtype)
    if out is not None:
        check_output(str(out), overwrite=overwrite, source=source.uri)
    plan = plan_for(source, resolved, memory=memory, threads=threads)
    with _running(source, plan, out, watcher) as executor:
        watcher.stage("probe")
        _, found = executor.sweep(look, None, {})
        probe = summarise(source.shape, found)
        check_data(resolved, probe)
        watcher.plan(plan, cautions(resolved, source.shape, probe))
        watcher.stage("start")
        initializer = resolved.initializer if w is None and h is None else Given(w, h, resolved.initializer)
        rows, shared = resolved.model.start(initializer, executor.sweep, probe, problem.seed, source.dtype)
        run = _Run(resolved, source, out, overwrite, _attributes(resolved.problem, source, plan, key))
        state = _loop(resolved, executor, rows, shared, (), run, checkpoint_every, watcher)
        return _finish(run, state, started, watcher)


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

    The data are opened where the run found them; data that were given as an object must be given again as `x`.
    A finished run goes on only with a larger `max_sweeps`, a smaller `tol` or a new `time_limit`. Raises
    `StoreError` when the data have changed.
    """
    watcher = watcher or Watcher()
    started = time.monotonic()
    store = RunStore.open(path, mode="r+")
    attributes = store.attributes
    problem = Problem.from_stored(attributes["problem"])
    changes = {"max_sweeps": max_sweeps, "tol": tol, "time_limit": time_limit}
    problem = problem.replace(**{name: value for name, value in changes.items() if value is not None})
    state = store.restore()
    if attributes["status"] == "done" and not _goes_on(problem, state, changes):
        return load(path)
    resolved = resolve(problem)
    source = _same_source(attributes["source"], x, problem)
    plan = plan_for(source, resolved, memory=memory, threads=threads)
    with _running(source, plan, path, watcher) as executor:
        watcher.plan(plan, _changed_versions(attributes["versions"]))
        attributes = {**attributes, "problem": problem.to_dict(), "versions": versions()}
        store.update(problem=attributes["problem"], versions=attributes["versions"])
        run = _Run(resolved, source, path, False, attributes, store)
        state = _loop(resolved, executor, state.rows, state.following, state.history, run, checkpoint_every, watcher)
        return _finish(run, state, started, watcher)


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
    watcher = watcher or Watcher()
    result = run if isinstance(run, Result) else load(run)
    resolved = resolve(result.problem)
    if out is not None:
        check_output(str(out), overwrite=overwrite, source=result.path)
    shared = result.state.current
    dtype = next(iter(resolved.model.factors(shared).values())).dtype
    source = open_source(x, key=key, dtype=np.dtype(dtype).name)
    if source.shape[1] != result.shape[1]:
        raise UsageError(f"the run has {result.shape[1]} features, and {source.uri} has {source.shape[1]}")
    plan = plan_for(source, resolved, memory=memory, threads=threads)
    with _running(source, plan, out, watcher) as executor:
        watcher.stage("probe")
        _, found = executor.sweep(look, None, {})
        if found["nonzero"]:
            check_data(resolved, summarise(source.shape, found))
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
    plan = plan_for(source, resolved, memory=memory, threads=threads)
    notes = cautions(resolved, source.shape)
    return Explanation(resolved, describe_source(source), plan, tuple(notes))


def plugins() -> list[Registered]:
    """Every part on offer, with its kind, summary and distribution."""
    return [part for kind in _kinds() for part in registry().of_kind(kind)]


def plan_for(source: Source, resolved: Resolved, *, memory: str | int | None, threads: int | None) -> Plan:
    """The layout of a fit of `resolved` on `source`."""
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be at least 1, not {threads}")
    return make_plan(
        source,
        width=sum(resolved.problem.ranks),
        dtype=source.dtype,
        elementwise=resolved.model.elementwise,
        forms_product=resolved.model.forms_product,
        memory=None if memory is None else parse_size(memory),
        threads=threads,
    )


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


class _Run:
    """Where a fit is written as it goes: nowhere without `out`, and nothing before there is a state to keep."""

    def __init__(
        self,
        resolved: Resolved,
        source: Source,
        out: str | os.PathLike[str] | None,
        overwrite: bool,
        attributes: dict[str, Any],
        store: RunStore | None = None,
    ) -> None:
        self.resolved, self.source, self.attributes = resolved, source, attributes
        self._out, self._overwrite, self._store = out, overwrite, store

    @property
    def stored(self) -> bool:
        """Whether the fit is written anywhere."""
        return self._out is not None

    def checkpoint(self, state: State, **attributes: Any) -> RunStore:
        """Keep `state`, so that a later `resume` continues from it; with `attributes`, as the last thing done."""
        with deferred(forget=bool(attributes)), self._writing() as store:
            if store.kept != state.sweep:
                store.checkpoint(state, self.source.shape[0])
            if attributes:
                store.update(**attributes)
        return store

    def finish(self, state: State, timings: dict[str, float]) -> RunStore:
        """Write the result; Ctrl-C has nothing left to interrupt."""
        with deferred(forget=True), self._writing() as store:
            factors = self.resolved.model.factors(state.current)
            store.finish(state, self.source.shape[0], factors, timings=timings)
        return store

    @contextmanager
    def _writing(self) -> Iterator[RunStore]:
        """The store, made when first needed; a failure says what is left, and leaves nothing useless behind."""
        if self._store is None:
            assert self._out is not None
            self._store = RunStore.create(self._out, self.attributes, overwrite=self._overwrite)
            self._store.write_names(self.source.row_names, self.source.feature_names)
        try:
            yield self._store
        except StoreError as error:
            kept = self._store.kept
            if kept is None:
                self._store.discard()
                raise StoreError(f"{error}; nothing was kept") from error
            raise StoreError(
                f"{error}; sweep {kept} is kept, continue from it with: nmfkit resume {self._store.path}"
            ) from error


def _loop(
    resolved: Resolved,
    executor: LocalExecutor,
    rows: RowStore,
    shared: Shared,
    history: Any,
    run: _Run,
    checkpoint_every: int | None,
    watcher: Watcher,
) -> State:
    watcher.stage("sweeps")
    state: State | None = None
    saved = time.monotonic()
    try:
        for state in iterate(resolved.model, executor.sweep, resolved.problem, rows, shared, history):
            watcher.sweep(state)
            if run.stored and not state.stopped_by and _is_due(state, checkpoint_every, saved):
                run.checkpoint(state)
                watcher.checkpoint(state.sweep)
                saved = time.monotonic()
    except KeyboardInterrupt:
        if state is None or not run.stored:
            raise
        store = run.checkpoint(state, status="interrupted", objective=state.objective)
        raise Interrupted(store.path, state.sweep) from None
    assert state is not None
    return state


def _is_due(state: State, every: int | None, saved: float) -> bool:
    if every:
        return state.sweep > 0 and state.sweep % every == 0
    return time.monotonic() - saved >= CHECKPOINT_SECONDS


def _finish(run: _Run, state: State, started: float, watcher: Watcher) -> Result:
    timings = {"total_seconds": time.monotonic() - started, "sweep_seconds": state.history[-1].seconds}
    if run.stored:
        watcher.stage("write")
        return load(run.finish(state, timings).path)
    return Result(
        problem=run.resolved.problem,
        state=state,
        shape=run.source.shape,
        attributes={**run.attributes, "timings": timings},
        row_names=run.source.row_names,
        feature_names=run.source.feature_names,
    )


def _attributes(problem: Problem, source: Source, plan: Plan, key: str | None) -> dict[str, Any]:
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
        },
        "threads": plan.threads,
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


def _goes_on(problem: Problem, state: State, changes: Mapping[str, Any]) -> bool:
    if state.sweep >= problem.max_sweeps:
        return False
    return any(value is not None for value in changes.values())


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
        return operator.index(value)
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
