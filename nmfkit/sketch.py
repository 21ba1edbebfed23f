"""A sketch: a fit of X's projection on a few directions, which gives the fit of X its start without reading X.

A Qᵀ with A = X Q and orthonormal Q (n, l) takes the place of X, l being little more than the rank. A few reads find
Q and make A, whose rows stay with those of W; sweeps over A then cost what W costs, however many columns X has. Only
the start differs: every sweep that is recorded is over the whole of X.

The directions are those of Halko, Martinsson & Tropp, SIAM Review 53(2), 2011, algorithm 4.4; factorizing a sketch
after Tepper & Sapiro, IEEE Trans. Signal Processing 64(9), 2016, and Erichson et al., Pattern Recognition Letters
104, 2018.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from threadpoolctl import threadpool_limits

from nmfkit.blocks import Array, Block, Dense, Linear, Transposed
from nmfkit.check import Resolved
from nmfkit.errors import UsageError
from nmfkit.executors.passes import Beside, passed
from nmfkit.loop import concluded, iterate
from nmfkit.lowrank import LowRank, formed
from nmfkit.probe import Probe
from nmfkit.protocols import Advance, Executor, Rows, RowStore, Shared, Stats, Step, Sweep, UpdateRule
from nmfkit.ways import model_of

ROWS = "sketch"
"""The name of the rows of A."""


class Sketching(NamedTuple):
    """How a rule wants its sketch: `width` columns from `power` + 1 reads of X, then `sweeps` of `rule` at most."""

    width: int
    power: int
    sweeps: int
    rule: UpdateRule


@runtime_checkable
class Sketches(Protocol):
    """a rule that fits a sketch of X before X itself; needs a loss that is quadratic in each factor."""

    def sketching(self, rank: int) -> Sketching:
        """The sketch for so many components. Its rule must keep the same rows and state as this one."""
        ...


def columns(resolved: Resolved) -> int:
    """Columns of the factors, or of the sketch where that is wider: what the memory is planned for."""
    ranks, rule = resolved.problem.ranks, resolved.ingredients.rule
    return max(sum(ranks), rule.sketching(max(ranks)).width) if isinstance(rule, Sketches) else sum(ranks)


def sketched(
    resolved: Resolved,
    executor: Executor,
    probe: Probe,
    rows: RowStore,
    shared: Shared,
    *,
    given: bool,
    note: Callable[[str], None],
) -> tuple[RowStore, Shared]:
    """The start that the fit of a sketch finds from `rows` and `shared`; these, if `given` and the better ones.

    `note` hears how well the sketch stands for X.
    """
    model, problem, dtype = resolved.model, resolved.problem, executor.source.dtype
    if not isinstance(problem.model, str | type):
        raise UsageError(
            f"a sketch needs a model of its own: give the class {type(model).__name__}, not an object of it"
        )
    wanted = resolved.ingredients.rule.sketching(max(problem.ranks))
    # One thread for the products of this side, too: roundings must not depend on who does the sweeps.
    with threadpool_limits(1, "blas"):
        sketch = make_sketch(executor.sweep, probe, wanted.width, wanted.power, problem.seed, dtype)
        note(sketch.describe())
        found_rows, found_shared = fitted(resolved, executor, sketch, wanted, rows, shared)
        kept = Kept(found_rows, model.factors(found_shared)["h"])
        found = model.start(kept, executor.sweep, probe, problem.seed, dtype)
    if given:
        before, after = executor.advance(model, rows, shared), executor.advance(model, *found)
        if not after.objective < before.objective:
            return rows, shared
    return found


@dataclass(frozen=True)
class Sketch:
    """A Qᵀ: the rows of A (m, l), Q (n, l) with orthonormal columns, ‖A‖² and ‖X‖², and the reads that it took."""

    rows: RowStore
    q: Array
    squares: float
    whole: float
    reads: int

    @property
    def error(self) -> float:
        """‖X − A Qᵀ‖ / ‖X‖ = √(1 − ‖A‖² / ‖X‖²), as A Qᵀ is a projection of X."""
        return math.sqrt(max(0.0, 1 - self.squares / self.whole))

    def describe(self) -> str:
        """For people."""
        count = f"{self.reads} reads" if self.reads > 1 else "1 read"
        return f"a sketch of {self.q.shape[1]} columns, from {count} of the data, differs from them by {self.error:.2%}"


def make_sketch(sweep: Sweep, probe: Probe, width: int, power: int, seed: int, dtype: Any) -> Sketch:
    """The sketch of at most `width` columns, from `power` + 1 reads; one, where it can hold all of X as it is."""
    m, n = probe.shape
    width = min(width, m, n)
    if width == n:
        q, power = np.eye(n, dtype=dtype), 0
    else:
        start = np.random.default_rng([seed, 3]).standard_normal((n, width))
        q = directions(sweep, start.astype(dtype), power)
    rows, stats = sweep(projected, None, {"q": q})
    return Sketch(rows, q, float(stats["squares"]), probe.squares, power + 1)


def directions(sweep: Sweep, v: Array, power: int) -> Array:
    """Orthonormal directions in which X is long, by `power` reads of subspace iteration on XᵀX from `v` (n, l)."""
    v, _ = np.linalg.qr(v)
    for _ in range(power):
        _, stats = sweep(covariance_product, None, {"v": v})
        v = np.linalg.qr(stats["xtxv"])[0].astype(v.dtype, copy=False)
    return v


def covariance_product(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """Xᵀ (X v)."""
    del rows
    return {}, {"xtxv": x.T.dot(x.dot(shared["v"]))}


def projected(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """The block's rows of A = X Q, and their squares."""
    del rows
    a = x.dot(shared["q"])
    return {ROWS: a}, {"squares": float(np.sum(np.square(a, dtype=np.float64)))}


# --- fitting it ---------------------------------------------------------------------------------------------


def fitted(
    resolved: Resolved, executor: Executor, sketch: Sketch, wanted: Sketching, rows: RowStore, shared: Shared
) -> tuple[RowStore, Shared]:
    """Rows and shared state after the sweeps over the sketch, begun from `rows` and `shared`."""
    loss = OnSketch(resolved.ingredients.loss, sketch.q)
    model = model_of(resolved.problem, replace(resolved.ingredients, loss=loss, rule=wanted.rule))
    problem = resolved.problem.replace(max_sweeps=wanted.sweeps)
    rest = loss.offset(Dense(np.ones((1, 1)))) * (sketch.whole - sketch.squares)
    for state in iterate(model, SketchExecutor(executor, sketch.rows, rest), problem, rows, shared):
        last = state
    return last.rows, last.current


@dataclass(frozen=True, eq=False)
class OnSketch:
    """A loss that is quadratic in each factor, on rows of A (rows, l) that stand for those of A Qᵀ.

    ½ ‖A Qᵀ − W H‖² = ½ ‖A − W (H Q)‖² + ½ ‖W (H − H Q Qᵀ)‖², so nothing of n columns is made for a block.
    """

    needs_positive: ClassVar[bool] = False
    pattern_only: ClassVar[bool] = True

    loss: Any
    q: Array

    @cached_property
    def _folded(self) -> Last:
        return Last(self._fold)

    @cached_property
    def _outside(self) -> Last:
        return Last(self._gram_outside)

    def gram(self, other: Array) -> Array:
        """As the loss."""
        gram: Array = self.loss.gram(other)
        return gram

    def cross(self, x: Linear, other: Array) -> Any:
        """A (Qᵀ other); for the transpose Q (Aᵀ other), left as a product, since its sum is formed but once."""
        if isinstance(x, Transposed):
            return LowRank(self.q, self.loss.cross(x, other))
        return self.loss.cross(x, self._folded(other))

    def offset(self, x: Block) -> float:
        """As the loss: A Qᵀ is as long as A."""
        return float(self.loss.offset(x))

    def value(self, x: Block, y: LowRank) -> float:
        """Without loss of digits where the fit is close."""
        inside = self.loss.value(x, LowRank(y.u, self._folded(y.v.T).T))
        gram = self.loss.gram(y.u.astype(np.float64, copy=False))
        return float(inside) + 0.5 * float(np.sum(gram * self._outside(y.v.T)))

    def _fold(self, f: Array) -> Array:
        """The rows of F (n, r) in terms of Q, (l, r)."""
        folded: Array = self.q.T @ f
        return folded

    def _gram_outside(self, f: Array) -> Array:
        """The Gram matrix (r, r) of what F has outside the span of Q."""
        outside = (f - self.q @ self._folded(f)).astype(np.float64, copy=False)
        gram: Array = outside.T @ outside
        return gram

    def __reduce__(self) -> tuple[type[OnSketch], tuple[Any, Array]]:
        return (OnSketch, (self.loss, self.q))


class Last:
    """A function of an array that remembers the last one: all blocks of a sweep ask about the same."""

    def __init__(self, function: Callable[[Array], Array]) -> None:
        self._function = function
        self._kept: tuple[Array, Array] | None = None

    def __call__(self, f: Array) -> Array:
        """The function's result."""
        kept = self._kept
        if kept is None or not np.array_equal(kept[0], f):
            self._kept = kept = (f, self._function(f))
        return kept[1]


class SketchExecutor:
    """Sweeps over the rows of a sketch by `executor`, which does not read X for them."""

    def __init__(self, executor: Executor, sketch: RowStore, rest: float) -> None:
        self.source, self.plan, self.each = executor.source, executor.plan, executor.each
        self.sweep = executor.sweep
        self.fetch, self.close = executor.fetch, executor.close
        self._sketch, self._rest = sketch, rest

    def advance(self, model: Any, rows: RowStore, shared: Any) -> Advance:
        """A sweep of `model.local`; its objective is that of X, as far as the sketch knows it."""
        there, state = passed(model, self._on_rows, rows, shared)
        new, stats = self._on_rows(model.local, there, state)
        objective, following, accepted = concluded(model, shared, stats, state)
        return Advance(new, objective + self._rest, following, accepted)

    def _on_rows(
        self, step: Step, rows: RowStore | None, shared: Shared, *, data: bool = True, tiles: bool = True
    ) -> tuple[RowStore, Stats]:
        """A sweep over the rows of A where X is asked for."""
        assert rows is not None, "a sketch is swept with rows"
        if data:
            step, rows = _OnRows(step), Beside(rows, self._sketch)
        new, stats = self.sweep(step, rows, shared, data=False, tiles=tiles)
        return new, _formed(stats)


@dataclass(frozen=True)
class _OnRows:
    """A step on the rows of A instead of those of X."""

    step: Step

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        rows = dict(rows)
        return self.step(Dense(rows.pop(ROWS), x.first), rows, shared)


@dataclass(frozen=True)
class Kept:
    """Starting from factors that the executor has: its own rows, and H."""

    rows: RowStore
    h: Array

    def start(self, sweep: Sweep, probe: Probe, rank: int, seed: int, dtype: Any) -> tuple[RowStore, Array]:
        """They."""
        del sweep, probe, rank, seed, dtype
        return self.rows, self.h


def _formed(stats: Stats) -> Stats:
    """Statistics with every product formed."""
    if isinstance(stats, dict):
        return {name: _formed(part) for name, part in stats.items()}
    if isinstance(stats, tuple | list):
        return type(stats)(map(_formed, stats))
    return formed(stats)
