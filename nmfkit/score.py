"""How good a factorization is: one or two reads of the data, a block of rows in memory at a time."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Unpack

import numpy as np

from nmfkit.array_rows import is_result
from nmfkit.blocks import Array, Block
from nmfkit.check import Resolved, check_data, check_source, resolve
from nmfkit.errors import StoreError, UsageError
from nmfkit.executors.machine import Machine, MachineOptions
from nmfkit.executors.open import executing
from nmfkit.loop import Watcher
from nmfkit.lowrank import LowRank
from nmfkit.origin import IN_MEMORY, observed_again
from nmfkit.probe import survey
from nmfkit.problem import part_text
from nmfkit.protocols import HasGram, Rows, Shared, Source, Stats, Step
from nmfkit.result import Result, load
from nmfkit.sources import open_source
from nmfkit.sources.fingerprint import fingerprint
from nmfkit.sources.observed import elsewhere, holes, known_missing, open_observed
from nmfkit.sources.uri import is_remote
from nmfkit.weighed import Weighed

ENCODE = {"encode.sweeps": 200, "encode.tol": 1e-5}
"""How rows of other data are fitted, as `transform` does."""


@dataclass(frozen=True)
class Score:
    """The judgement of a run on data.

    `objective` is the stored one, None on other data; `loss` that of WH without regularizers. `relative_error` is
    √(loss / loss of ŷ = 0) for a quadratic loss, so ‖X − WH‖ / ‖X‖ for Frobenius, and for any other the loss over that
    of the product of X's row and column sums; `measure` says which. A model that takes no loss is judged by
    ½‖X − WH‖². `sparsity` is Hoyer's, by factor, and `shares[k]` the part of the entries' sum that component k makes.
    """

    source: str
    objective: float | None
    loss: float
    relative_error: float
    measure: str
    sparsity: dict[str, float]
    shares: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return asdict(self)


def score(
    run: Result | str | os.PathLike[str],
    x: Any = None,
    *,
    key: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    mask: Any = None,
    weights: Any = None,
    missing: str | None = None,
    watcher: Watcher | None = None,
    **machine: Unpack[MachineOptions],
) -> Score:
    """Judge `run` on the data that it was fitted to, or on other data `x` whose rows are fitted to its H first.

    Where entries are missing or have weights, they are judged as they were fitted; `mask`, `weights` and `missing` are
    those of other data, `machine` as in `fit`.
    """
    place = Machine.of(machine)
    watcher = watcher or Watcher()
    options = storage_options
    result = run if isinstance(run, Result) else load(run, storage_options=options if is_remote(str(run)) else None)
    resolved = resolve(result.problem)
    shared = result.state.current
    row, factor, v = _product(result, resolved)
    if x is None:
        source = _own_source(result, options, mask, weights)
    else:
        missing = known_missing(result.attributes) if missing is None else missing
        source = _other_source(result, x, key, v.dtype, options, mask, weights, missing)
    if (weights := elsewhere(source)) is not None:
        resolved = resolve(result.problem, elsewhere=weights)
        check_source(resolved, source)
    with executing(source, resolved, place, out=result.path, options=options, watcher=watcher) as executor:
        watcher.stage("probe")
        probe = survey(executor.sweep, executor.source)
        check_data(resolved, probe)
        watcher.stage("score")
        loss = resolved.ingredients.loss or _HalfSquares()
        judge = _Judge(loss, row, v, probe.columns / probe.total, resolved.model.encode if x is not None else None)
        rows = result.state.rows if x is None else None
        _, stats = executor.sweep(judge, rows, {**shared, **ENCODE})
    return _score(result, source, stats, (row, factor), v, judge.quadratic, own=x is None)


class _HalfSquares:
    """½‖X − ŷ‖², which judges a model that takes no loss."""

    def value(self, x: Block, y: LowRank) -> float:
        inside = np.sum(np.square(np.subtract(x.values, y.at(x), dtype=np.float64)))
        return 0.5 * (float(inside) + y.squares_outside(x))

    def offset(self, x: Block) -> float:
        return 0.5 * float(np.sum(np.square(x.values, dtype=np.float64)))


@dataclass(frozen=True)
class _Judge:
    """The step of the scoring sweep: the rows' factor `row` times `v` (r, n).

    `profile` (n,) holds the columns' parts of the sum of all entries.
    """

    loss: Any
    row: str
    v: Array
    profile: Array
    encode: Step | None

    @property
    def quadratic(self) -> bool:
        return isinstance(self.loss, HasGram | _HalfSquares)

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        if self.encode is not None:
            rows, _ = self.encode(x, {}, shared)
        u = rows[self.row]
        wide = u.astype(np.float64)
        return {}, {
            "loss": float(self.loss.value(x, LowRank(u, self.v))),
            "reference": self._reference(x, u.dtype),
            "sums": np.sum(wide, axis=0),
            "squares": np.sum(np.square(wide), axis=0),
        }

    def _reference(self, x: Block, dtype: Any) -> float:
        """The loss of what needs no factorization: zero, or the product of row and column sums."""
        if self.quadratic:
            return float(self.loss.offset(x))
        sums = x.dot(np.ones((x.shape[1], 1), dtype))
        if isinstance(x, Weighed):  # what the row would sum up to if all of it were known
            sums = sums / np.maximum(x.weigh(self.profile[:, None].astype(dtype)), np.finfo(dtype).tiny)
        return float(self.loss.value(x, LowRank(sums.astype(dtype), self.profile[None].astype(dtype))))


def _score(
    result: Result, source: Source, stats: Stats, names: tuple[str, str], v: Array, quadratic: bool, *, own: bool
) -> Score:
    ratio = stats["loss"] / stats["reference"] if stats["reference"] > 0 else math.nan
    wide = v.astype(np.float64)
    mass = stats["sums"] * np.sum(wide, axis=1)
    of_rows = hoyer(stats["sums"], stats["squares"], source.shape[0])
    of_v = hoyer(np.sum(wide, axis=1), np.sum(np.square(wide), axis=1), v.shape[1])
    return Score(
        source=source.uri,
        objective=result.objective if own else None,
        loss=stats["loss"],
        relative_error=math.sqrt(max(0.0, ratio)) if quadratic else ratio,
        measure="‖X − WH‖ / ‖X‖" if quadratic else "loss / loss of the product of row and column sums",
        sparsity=dict(zip(names, (of_rows, of_v), strict=True)),
        shares=tuple(float(s) for s in mass / max(float(np.sum(mass)), np.finfo(np.float64).tiny)),
    )


def hoyer(sums: Array, squares: Array, count: int) -> float:
    """(√p − ‖v‖₁ / ‖v‖₂) / (√p − 1) averaged over nonnegative vectors of p = `count` entries that are not zero.

    The vectors are known by the sums of their entries and of the squares; NaN where p = 1 or all vectors are zero.
    """
    used = squares > 0
    if count < 2 or not bool(np.any(used)):
        return math.nan
    ratio = sums[used] / np.sqrt(squares[used])
    # Rounding may take a vector of equal entries a hair beyond the bounds.
    return float(np.mean(np.clip((math.sqrt(count) - ratio) / (math.sqrt(count) - 1), 0, 1)))


def _product(result: Result, resolved: Resolved) -> tuple[str, str, Array]:
    """The names of the two factors that X is the product of, and the shared one (r, n)."""
    model, n = resolved.model, result.shape[1]
    shared = model.factors(result.state.current)
    rows = {name: f for name, f in result.state.rows.read(0, 1).items() if is_result(name)}
    if len(rows) == 1 and len(shared) == 1:
        ((row, u),), ((name, v),) = rows.items(), shared.items()
        if v.shape == (u.shape[1], n):
            return row, name, v
    shapes = ", ".join(f"{k} ({', '.join(('m', *map(str, u.shape[1:])))})" for k, u in rows.items())
    shapes += "".join(f", {k} {v.shape}" for k, v in shared.items())
    raise UsageError(
        f"score judges a product of two factors, (m, r) and (r, {n}), and model {part_text(result.problem.model)!r} "
        f"has {shapes}; nmfkit inspect shows its objective"
    )


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
    if source.shape[1] != result.shape[1]:
        raise UsageError(f"the run has {result.shape[1]} features, and {source.uri} has {source.shape[1]}")
    return source
