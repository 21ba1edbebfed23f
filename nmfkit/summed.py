"""Steps of a factor whose columns, or rows, must add up to a number: the surrogate's minimiser among such factors.

What `root` is for a free factor, `summed_root` is for a held one; `stepped` serves both, and is what rules call. The
search for the multipliers is that of `nmfkit.multipliers`; here are its passes over the entries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.kernels.reference import power
from nmfkit.multipliers import BRACKET, HUGE, LEVELS, SEARCH
from nmfkit.multipliers import Multipliers as Multipliers
from nmfkit.stats import Least
from nmfkit.surrogate import FURTHEST, LOG, Surrogate, root
from nmfkit.terms import Penalty

SWIFT = 1e100
"""The largest d ln t / d ln ν, and f t / total, that count: their products are still numbers."""


def stepped(f: Array, surrogate: Surrogate, penalty: Penalty, floor: float, whole: int = 0) -> Array:
    """The new factor (rows, r) from `f` and the sum of all surrogates: f̃ t, at least `floor`.

    Where a part of `penalty` holds the sums of columns or rows, it is the minimiser that does, too. For a row block of
    a factor whose columns are held, `penalty.multipliers` must be those of the whole factor, which has `whole` rows.
    """
    sums = penalty.sums
    if sums is None:
        free: Array = np.maximum(f * root(surrogate, whole=whole), floor)
        return free
    if sums.across or penalty.multipliers is None:
        return _minimised(surrogate, f, sums.total, sums.across, floor)
    return held(surrogate, f, penalty.multipliers)


def summed_root(surrogate: Surrogate, f: Array, total: float, across: bool = False, floor: float = 0.0) -> Array:
    """The t ≥ 0 of `f`'s shape (rows, r) that minimises the surrogate where Σ f t = `total`, in `f`'s dtype.

    Each column of `f` has that sum, or each row if `across`. Entries are kept at f t ≥ `floor`. A group whose terms are
    all linear keeps its proportions; where f is zero there is no t that could change it, and t is 1.
    """
    new = _minimised(surrogate, f, total, across, floor).astype(np.float64, copy=False)
    wide = f.astype(np.float64, copy=False)
    t = np.where(wide > 0, new / np.where(wide > 0, wide, np.ones_like(wide)), np.ones_like(wide))
    bounded: Array = np.minimum(t, float(np.finfo(f.dtype).max)).astype(f.dtype, copy=False)
    return bounded


def searched(surrogate: Surrogate, f: Array, total: float, across: bool = False, floor: float = 0.0) -> Multipliers:
    """The multipliers of a whole factor `f`."""
    return _searched(surrogate, f, Multipliers(total, across, floor))[0]


def _minimised(surrogate: Surrogate, f: Array, total: float, across: bool, floor: float) -> Array:
    return held(surrogate, f, *_searched(surrogate, f, Multipliers(total, across, floor)))


def _searched(surrogate: Surrogate, f: Array, state: Multipliers) -> tuple[Multipliers, Array | None]:
    """The multipliers, and t at those of the last pass."""
    t = None
    while not state.done:
        pass_ = _Pass.of(surrogate, f, state, t)
        state, t = state.next(pass_.statistics()), pass_.t
    return state, t


def statistics(surrogate: Surrogate, f: Array, state: Multipliers) -> dict[str, Any]:
    """What `state.next` needs of a row block `f` with its surrogate; additive over row blocks."""
    return _Pass.of(surrogate, f, state).statistics()


def held(surrogate: Surrogate, f: Array, state: Multipliers, start: Array | None = None) -> Array:
    """The new rows (rows, r) at the multipliers that were found, in `f`'s dtype; `start` is a guess of t."""
    equal = state.total / state.count
    searched_for = state.stage == SEARCH  # it ends at once where all groups are zero
    new = _Pass.of(surrogate, f, state, start).values() if searched_for else np.full_like(f, equal, dtype=np.float64)
    new = np.where(state.mass > 0, new, np.full_like(new, equal))
    bounded: Array = np.maximum(np.maximum(new, state.least).astype(f.dtype, copy=False), state.least)
    return bounded


@dataclass(frozen=True)
class _Pass:
    """A row block and its terms as one state of the search sees them, in float64.

    `terms` are all but that of power 1, `slope` is Δ and, during the search, ν; `t` the root there.
    """

    state: Multipliers
    f: Array
    terms: dict[float, Array]
    slope: Array
    t: Array | None

    @classmethod
    def of(cls, surrogate: Surrogate, f: Array, state: Multipliers, start: Array | None = None) -> _Pass:
        """`start` is a guess of t."""
        terms = {p: c.astype(np.float64, copy=False) for p, c in surrogate.items() if p != 1}
        slope = surrogate.get(1.0, np.zeros_like(f, shape=(1, f.shape[1]))).astype(np.float64, copy=False)
        f = f.astype(np.float64, copy=False)
        if state.stage == LEVELS:
            return cls(state, f, terms, slope, None)
        slope = slope - state.low
        if not bool(np.all(state.stretch == 1)):
            f, terms, slope = _stretched(f, terms, slope, state.stretch)
        if bool(np.any(state.still)):
            terms, slope = _in_proportion(terms, slope, state.still)
        if state.stage == BRACKET:
            return cls(state, f, terms, slope, None)
        slope = slope + state.nu
        t = root({**terms, 1.0: slope + np.zeros_like(f)} if not terms else {**terms, 1.0: slope}, start, FURTHEST)
        return cls(state, f, terms, slope, t + np.zeros_like(f) if t.shape != f.shape else t)

    def statistics(self) -> dict[str, Any]:
        """Those of the state's stage."""
        if self.state.stage == LEVELS:
            return self._levels()
        return self._bracket() if self.state.stage == BRACKET else self._sums()

    def _levels(self) -> dict[str, Any]:
        there, rises = self.f > 0, self._where({p: c for p, c in self.terms.items() if p > 1})
        return {
            "count": float(self.f.shape[self._axis]),
            "mass": self._sum(self.f),
            "curved": self._sum(there & self._where(self.terms)),
            "low": self._least(self.slope, there),
            "loosest": self._loosest(there),
            "pulled": self._sum(there & self._where({p: c for p, c in self.terms.items() if p < 1})),
            "falling": self._least(self.slope, there & ~rises),
        }

    def _bracket(self) -> dict[str, Any]:
        """The least slope where an entry has all of the sum alone, and where each has its share; all in proportion."""
        total, count = self.state.total, self.state.count
        mean = _rest(self.terms, self.state.share) + self.slope
        return {"lo": self._least_at(total), "hi": self._least_at(total / count), "guess": self._sum(self.f * mean)}

    def _least_at(self, value: float) -> Least:
        there = self.f > 0
        with np.errstate(over="ignore"):
            t = np.minimum(value / np.where(there, self.f, np.full_like(self.f, value)), HUGE)
        return self._least(_rest(self.terms, t) + self.slope, there)

    def _loosest(self, there: Array) -> Least:
        """The slope of the entry that moves most with ν, by the terms that hold it: its digits count most."""
        held = np.zeros_like(self.f)
        for p, c in self.terms.items():
            held = held + (c if p == LOG else max(p - 1, 0.0) * c)
        held = held / np.where(there, self.f, np.ones_like(self.f))
        there = there & self._may_stay(there)
        hold: Array = self._least(held, there).value
        return Least(hold, self._least(self.slope, there & (held <= hold)).value)

    def _may_stay(self, there: Array) -> Array:
        """Entries that are not zero for sure: the multiplier is at most where one entry has all of the sum alone."""
        if LOG in self.terms:
            return there
        low: Array = self.slope <= self._least_at(self.state.total).value
        return low

    def _least(self, a: Array, there: Array) -> Least:
        return Least(np.min(np.where(there, a, np.full_like(self.f, math.inf)), axis=self._axis, keepdims=True))

    def _sums(self) -> dict[str, Any]:
        assert self.t is not None
        value, t = np.minimum(self.f * self.t, SWIFT * self.state.total), self.t
        held, flat = ~(value > self.state.least), self._flat
        fixed = held | flat
        if bool(np.any(fixed)):
            value, t = np.where(fixed, np.zeros_like(value), value), np.where(fixed, np.ones_like(t), t)
        first, second = _bends(self.terms, t)
        bent = first > 0
        first = np.where(bent, first, np.ones_like(first))
        pace = np.where(bent, np.minimum(self.state.unit / np.maximum(first, 1 / HUGE), SWIFT), np.zeros_like(value))
        rate = value * pace
        return {
            "free": self._sum(value),
            "floored": self.state.least * self._sum(held & ~flat),
            "flat": self._sum(self.f * flat),
            "first": self._sum(rate),
            "second": -self._sum(rate * pace * (second / first)),
        }

    def values(self) -> Array:
        """The entries at the state's multipliers, before the floor."""
        assert self.t is not None
        value: Array = np.minimum(self.f * self.t, SWIFT * self.state.total) * np.where(
            self._flat, self.state.fill, self.state.scale
        )
        return value

    @property
    def _axis(self) -> int:
        return 1 if self.state.across else 0

    def _where(self, terms: dict[float, Array]) -> Array:
        """Entries that have any of these terms."""
        found: Array = reduce(np.logical_or, [c != 0 for c in terms.values()], np.zeros_like(self.f) > 0)
        return found

    @property
    def _flat(self) -> Array:
        """Entries without any slope, which have every t."""
        flat: Array = self.slope == 0
        return flat & ~self._where(self.terms) if bool(np.any(flat)) else flat

    def _sum(self, a: Array) -> Array:
        total: Array = a.sum(axis=self._axis, keepdims=True, dtype=np.float64)
        return total


def _stretched(
    f: Array, terms: dict[float, Array], slope: Array, stretch: Array
) -> tuple[Array, dict[float, Array], Array]:
    """The same derivative in terms of `f` times `stretch`."""
    if LOG in terms:
        slope = slope + terms[LOG] * np.log(stretch)
    with np.errstate(over="ignore"):
        sizes = {p: c * np.minimum(stretch ** (p - 1), HUGE) for p, c in terms.items() if p != LOG}
    kept = {p: np.minimum(np.maximum(c, -HUGE), HUGE) for p, c in sizes.items()}
    return f * stretch, kept | ({LOG: terms[LOG]} if LOG in terms else {}), slope


def _in_proportion(terms: dict[float, Array], slope: Array, still: Array) -> tuple[dict[float, Array], Array]:
    """For some groups terms whose root is the same for all entries."""
    equal = still.astype(np.float64)
    pull = terms[0.0] - equal if 0.0 in terms else -equal
    return {**terms, 0.0: pull}, np.where(still, np.zeros_like(slope), slope)


def _rest(terms: dict[float, Array], t: Array) -> Array:
    """The derivative but for power 1."""
    with np.errstate(over="ignore"):
        sizes = [(c, np.log(t) if p == LOG else np.minimum(power(t, p - 1), HUGE)) for p, c in terms.items()]
        total: Array = reduce(np.add, [c * size for c, size in sizes], np.zeros_like(t))
    return total


def _bends(terms: dict[float, Array], t: Array) -> tuple[Array, Array]:
    """t g′ and t² g″ of the derivative g, for t > 0; beyond what its powers can be formed of, at the end of that."""
    most = HUGE ** (0.5 / max(1.0, *(abs(p - 1) for p in terms if p != LOG), 1.0))
    t = np.minimum(np.maximum(t, 1 / most), most)
    first = [c + np.zeros_like(t) if p == LOG else (p - 1) * c * power(t, p - 1) for p, c in terms.items()]
    second = [(-1 if p == LOG else p - 2) * size for p, size in zip(terms, first, strict=True)]
    return reduce(np.add, first), reduce(np.add, second)
