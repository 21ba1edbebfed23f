"""The multipliers that hold the sums of a factor's columns (or rows) while its surrogate is minimised.

With F = f̃ t and the sum constraint Σ_i f̃_i t_i = total over a group of entries, every entry of the group solves
c₁ + h(t) = μ, where h holds all terms of the surrogate's derivative but that of power 1 (Leplat, Gillis & Idier, SIAM
J. Matrix Anal. Appl. 42(2), 2021). The sum falls as ν = min c₁ − μ grows, so there is one ν for each group. In terms
of ν and Δ = c₁ − min c₁ nothing cancels: D − μ of the usual form loses every digit where the pull is small. (Entries
with rising terms beside power 1 do not take part in that minimum: where c₁ and μ nearly cancel, their t is no problem.)

The search is a state machine of array operations. One pass over the entries gives `statistics`, which add up over row
blocks, and `Multipliers.next` turns their sums into the next state. So the same code serves an array and the shards of
one that is never together. Everything here is float64.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from nmfkit.blocks import Array

LEVELS, BRACKET, SEARCH = range(3)
"""What the next pass is for: the groups' sizes and least slopes, a bracket for ν, or the sums at ν."""

CLOSE, ROUNDING = 1e-13, 1e-10
"""A sum this near its total is right; one that comes no nearer than this is as right as its rounding lets it be."""

STILL = 4 * float(np.finfo(np.float64).eps)
"""A step of this fraction of ν is rounding."""

MOST = 100
"""Passes after which a search ends wherever it is."""

NEARER = 1e-3
"""Between 0 and another end, the part of that at which ν is looked for."""

SHARE = 1e-6
"""A floor is lowered to this fraction of a group's mean entry: the floors of a whole group must fit into its sum."""

FAR = 1e3
"""A group whose sum differs from its total by more than this factor is rescaled first, so that t stays in range."""

HUGE = 1e300


@dataclass(frozen=True)
class Multipliers:
    """Where the search for the multipliers of a factor's sums stands; arrays have one entry for each group.

    `total` is what each sum must be, `across` whether rows are summed rather than columns, and `floor` what no entry
    may fall below: entries that would are held there, and the others make up for it.
    """

    total: float = 1.0
    across: bool = False
    floor: float = 0.0
    stage: int = LEVELS
    steps: int = 0
    count: float = 0.0
    """Entries of a group."""
    mass: Any = None
    """Σ f̃."""
    stretch: Any = None
    """What f̃ is multiplied by before anything else."""
    low: Any = None
    """min c₁, over the entries where no other term rises if there are such: their t is singular at ν = −Δ.

    Without a term that falls as a power below 1, which makes ν > 0, it is c₁ of the entry that moves most with ν.
    """
    lo: Any = None
    hi: Any = None
    nu: Any = None
    gap: Any = None
    """How far the sum was from the total at the last ν."""
    lowest: Any = None
    """Where the sum at `lo` is known."""
    still: Any = None
    """Groups of linear terms alone, whose entries stay in proportion."""
    settled: Any = None
    scale: Any = None
    """What entries above the floor are multiplied by at the end, for the last digits of the sum."""
    fill: Any = None
    """t of entries without any slope at ν: they take what the others leave."""

    @property
    def done(self) -> bool:
        """Whether every group has its multiplier."""
        return self.settled is not None and bool(np.all(self.settled))

    @property
    def least(self) -> float:
        """The floor, as far as a group has room for it."""
        return min(self.floor, SHARE * self.total / max(self.count, 1.0))

    @property
    def unit(self) -> Array:
        """In what derivatives by ν are measured, for they would leave the range of numbers: |ν|."""
        unit: Array = np.where(self.nu == 0, np.ones_like(self.nu), np.abs(self.nu))
        return unit

    @property
    def share(self) -> Array:
        """The t at which the stretched f̃ has its sum."""
        mass = self.mass * self.stretch
        share: Array = self.total / np.where(mass > 0, mass, np.full_like(mass, self.total))
        return share

    def as_dict(self) -> dict[str, Any]:
        """The state as numbers and arrays by name, without what is not known yet."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in named.items() if value is not None}

    @classmethod
    def of(cls, state: dict[str, Any]) -> Multipliers:
        """The state that `as_dict` gave."""
        plain = {"total": float, "across": bool, "floor": float, "stage": int, "steps": int, "count": float}
        return cls(**{name: plain.get(name, _as_is)(value) for name, value in state.items()})

    def next(self, stats: dict[str, Any]) -> Multipliers:
        """The state after a pass, from the sum of its `statistics` over all entries."""
        if self.stage == LEVELS:
            return self._levelled(stats)
        return self._bracketed(stats) if self.stage == BRACKET else self._searched(stats)

    def _levelled(self, stats: dict[str, Any]) -> Multipliers:
        mass, low, falling = stats["mass"], stats["low"].value, stats["falling"].value
        low = np.where(np.isfinite(falling), falling, np.where(stats["pulled"] > 0, low, stats["loosest"].beside))
        ratio = self.total / np.maximum(mass, self.total / HUGE)
        near = (ratio < FAR) & (ratio > 1 / FAR)
        one = np.ones_like(mass)
        return replace(
            self,
            stage=BRACKET,
            count=float(stats["count"]),
            mass=mass,
            stretch=np.where(near | (mass <= 0), one, ratio),
            low=np.where(np.isfinite(low), low, np.zeros_like(low)),
            still=(stats["curved"] == 0) & (mass > 0),
            settled=mass <= 0,
            scale=one,
            fill=one,
            nu=np.zeros_like(mass),
            gap=np.full_like(mass, HUGE),
            lowest=mass <= 0,
        )

    def _bracketed(self, stats: dict[str, Any]) -> Multipliers:
        lo, hi = (np.minimum(np.maximum(-stats[end].value, -HUGE), HUGE) for end in ("lo", "hi"))
        hi = np.maximum(lo, hi)
        guess = -stats["guess"] * self.share / self.total
        return replace(self, stage=SEARCH, lo=lo, hi=hi, nu=np.minimum(np.maximum(guess, lo), hi))

    def _searched(self, stats: dict[str, Any]) -> Multipliers:
        error = stats["free"] + stats["floored"] - self.total
        filled = (stats["flat"] > 0) & (error <= 0)
        lo = np.where(error > 0, self.nu, self.lo)
        hi = np.where(error < 0, self.nu, self.hi)
        off, middle = np.abs(error), _middle(lo, hi)
        step = _step(stats, self.total) * self.unit
        right = (off <= CLOSE * self.total) | ((off <= ROUNDING * self.total) & (off >= self.gap / 2))
        right = right | ((step != 0) & (np.abs(step) <= STILL * np.abs(self.nu)))
        ends = right | filled | ~((middle > lo) & (middle < hi)) | (self.steps >= MOST)
        lowest = self.lowest | (error > 0) | (self.nu == self.lo)
        proposal = np.where(lowest, self.nu + step, np.maximum(self.nu + step, lo))
        good = ((proposal > lo) | ~lowest) & (proposal < hi) & (off < self.gap / 2)
        now = ends & ~self.settled
        free, left = stats["free"], self.total - stats["floored"]
        rescaled = now & ~filled & (free > 0) & (left > 0)
        return replace(
            self,
            steps=self.steps + 1,
            lo=lo,
            hi=hi,
            nu=np.where(self.settled | ends, self.nu, np.where(good, proposal, middle)),
            gap=off,
            lowest=lowest,
            settled=self.settled | ends,
            scale=np.where(rescaled, left / np.where(free > 0, free, np.ones_like(free)), self.scale),
            fill=np.where(now, np.where(filled, -error, 0.0) / np.where(filled, stats["flat"], 1.0), self.fill),
        )


def _as_is(value: Any) -> Any:
    return value


def _middle(lo: Array, hi: Array) -> Array:
    """Between the ends: in the middle of their logarithms where both have one sign, for they may be far apart.

    Where they have not, 0 divides them, and from there on what is looked for may be anywhere near it.
    """
    same = lo * np.sign(hi) > 0
    ends = np.sqrt(np.abs(lo)) * np.sqrt(np.abs(hi))
    apart = (lo < 0) & (hi > 0)
    middle: Array = np.where(same, np.sign(lo) * ends, np.where(apart, np.zeros_like(lo), NEARER * (lo + hi)))
    return middle


def _step(stats: dict[str, Any], total: float) -> Array:
    """The step of ν to where the sum is right, were it A (ν − ν₀)^(−1/e), with e from the first two derivatives.

    That is Newton's method on S^e: exact for {1, q} with equal slopes (e = 1 − q), for straight pieces (e = −1), and
    for exponentials (e = 0).
    """
    free, first = stats["free"], stats["first"]
    wanted = np.maximum(total - stats["floored"], total * 1e-3)
    live = (free > 0) & (first > 0)
    free, first = np.where(live, free, np.ones_like(free)), np.where(live, first, np.ones_like(first))
    relative = first / free
    e = np.minimum(np.maximum(stats["second"] / free / relative / relative - 1, -1e3), 1e3)
    e = np.where(np.abs(e) > 1e-6, e, np.full_like(e, 1e-6))
    growth = np.minimum(np.maximum(e * np.log(free / wanted), -30.0), 30.0)
    step: Array = np.where(live, np.expm1(growth) / e / relative, np.zeros_like(free))
    return step
