"""How good a factorization is: one or two reads of the data, a block of rows in memory at a time."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nmfkit.api import IN_MEMORY, plan_for
from nmfkit.blocks import Array, Block
from nmfkit.check import Resolved, check_data, resolve
from nmfkit.errors import StoreError, UsageError
from nmfkit.executors.local import LocalExecutor
from nmfkit.loop import Watcher
from nmfkit.lowrank import LowRank
from nmfkit.probe import look, summarise
from nmfkit.protocols import HasGram, Rows, Shared, Source, Stats, Step
from nmfkit.registry import registry
from nmfkit.result import Result, load
from nmfkit.sources import open_source
from nmfkit.sources.fingerprint import fingerprint

ENCODE = {"encode.sweeps": 200, "encode.tol": 1e-5}
"""How rows of other data are fitted, as `transform` does."""


@dataclass(frozen=True)
class Score:
    """The judgement of a run on data.

    `objective` is the stored one, None on other data; `loss` that of WH without regularizers. `relative_error` is
    √(loss / loss of ŷ = 0) for a quadratic loss, so ‖X − WH‖ / ‖X‖ for Frobenius, and for any other the loss over that
    of the product of X's row and column sums; `measure` says which. `sparsity` is Hoyer's, by factor, and
    `shares[k]` the part of the entries' sum that component k makes.
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
    memory: str | int | None = None,
    threads: int | None = None,
    watcher: Watcher | None = None,
) -> Score:
    """Judge `run` on the data that it was fitted to, or on other data `x` whose rows are fitted to its H first."""
    watcher = watcher or Watcher()
    result = run if isinstance(run, Result) else load(run)
    resolved = resolve(result.problem)
    shared = result.state.current
    h = _h(result, resolved)
    source = _own_source(result) if x is None else _other_source(result, x, key, h.dtype)
    loss = resolved.ingredients.loss or registry().build("loss", "frobenius")
    plan = plan_for(source, resolved, memory=memory, threads=threads)
    with LocalExecutor(source, plan, on_block=watcher.block) as executor:
        watcher.stage("probe")
        _, found = executor.sweep(look, None, {})
        probe = summarise(source.shape, found)
        check_data(resolved, probe)
        watcher.stage("score")
        judge = _Judge(loss, probe.columns / probe.total, resolved.model.encode if x is not None else None)
        rows = result.state.rows if x is None else None
        _, stats = executor.sweep(judge, rows, {**shared, **ENCODE, "h": h})
    return _score(result, source, stats, h, judge.quadratic, own=x is None)


@dataclass(frozen=True)
class _Judge:
    """The step of the scoring sweep; `profile` (n,) holds the columns' parts of the sum of all entries."""

    loss: Any
    profile: Array
    encode: Step | None

    @property
    def quadratic(self) -> bool:
        return isinstance(self.loss, HasGram)

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        if self.encode is not None:
            rows, _ = self.encode(x, {}, shared)
        w, h = rows["w"], shared["h"]
        wide = w.astype(np.float64)
        return {}, {
            "loss": float(self.loss.value(x, LowRank(w, h))),
            "reference": self._reference(x, w.dtype),
            "sums": np.sum(wide, axis=0),
            "squares": np.sum(np.square(wide), axis=0),
        }

    def _reference(self, x: Block, dtype: Any) -> float:
        """The loss of what needs no factorization: zero, or the product of row and column sums."""
        if self.quadratic:
            return float(self.loss.offset(x))
        sums = x.dot(np.ones((x.shape[1], 1), dtype))
        return float(self.loss.value(x, LowRank(sums.astype(dtype), self.profile[None].astype(dtype))))


def _score(result: Result, source: Source, stats: Stats, h: Array, quadratic: bool, *, own: bool) -> Score:
    ratio = stats["loss"] / stats["reference"] if stats["reference"] > 0 else math.nan
    mass = stats["sums"] * np.sum(h, axis=1, dtype=np.float64)
    wide = h.astype(np.float64)
    of_w = hoyer(stats["sums"], stats["squares"], source.shape[0])
    of_h = hoyer(np.sum(wide, axis=1), np.sum(np.square(wide), axis=1), h.shape[1])
    return Score(
        source=source.uri,
        objective=result.objective if own else None,
        loss=stats["loss"],
        relative_error=math.sqrt(max(0.0, ratio)) if quadratic else ratio,
        measure="‖X − WH‖ / ‖X‖" if quadratic else "loss / loss of the product of row and column sums",
        sparsity={"w": of_w, "h": of_h},
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


def _h(result: Result, resolved: Resolved) -> Array:
    model = resolved.model
    factors = model.factors(result.state.current)
    if "h" not in factors or model.row_factors != ("w",):
        names = ", ".join((*model.row_factors, *factors))
        raise UsageError(
            f"score knows models X ≈ W H, and {result.problem.model!r} has the factors {names}; "
            "nmfkit inspect shows its objective"
        )
    return factors["h"]


def _own_source(result: Result) -> Source:
    """The data of the fit, if they are where they were and as they were."""
    stored = result.attributes["source"]
    if stored["uri"] == IN_MEMORY:
        raise StoreError("the run was fitted to data in memory; name the data: nmfkit.score.score(run, X)")
    source = open_source(stored["uri"], key=stored.get("key"), dtype=stored["dtype"])
    if fingerprint(source) != stored["fingerprint"]:
        raise StoreError(
            f"the data at {source.uri} have changed since the fit; name the data to score the components on them: "
            f"nmfkit score {result.path} {source.uri}"
        )
    return source


def _other_source(result: Result, x: Any, key: str | None, dtype: Any) -> Source:
    source = open_source(x, key=key, dtype=np.dtype(dtype).name)
    if source.shape[1] != result.shape[1]:
        raise UsageError(f"the run has {result.shape[1]} features, and {source.uri} has {source.shape[1]}")
    return source
