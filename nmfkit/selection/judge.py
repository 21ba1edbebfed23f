"""The loss of a fit on the entries that it saw and on those that it did not, in one or two reads of the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nmfkit.blocks import CSR, Array, Block, Dense
from nmfkit.check import Resolved
from nmfkit.executors.machine import Machine
from nmfkit.executors.open import executing
from nmfkit.loop import Watcher
from nmfkit.lowrank import LowRank
from nmfkit.protocols import HasGram, Rows, Shared, Source, Stats
from nmfkit.result import Result
from nmfkit.selection.speckles import CELLS, Speckles
from nmfkit.weighed import Weighed

LEAST = 1e-3
"""The least prediction that is judged, as a part of the plain one: by many a β a zero where an entry is found has an
infinite loss, and a hair above zero would outweigh all other entries."""


@dataclass(frozen=True)
class HeldOut:
    """`loss` of W H, summed over the `entries` that the fit did not see, and `plain` of what needs no fit.

    The latter is ŷ_ij = r_i c_j / g with the means r of row i, c of column j and g of all, over the entries that are
    seen; one entry of size g is added to each row and column, so that none of which only zeros are seen is taken for
    impossible. Nor is W H: it counts as a thousandth of that ŷ where it is less.
    """

    loss: float
    plain: float
    entries: int

    @property
    def relative(self) -> float:
        """Loss over plain loss: 1 is no better than knowing the sums of rows and columns."""
        return self.loss / self.plain if self.plain > 0 else math.nan


def held_out(
    result: Result, source: Source, speckles: Speckles, resolved: Resolved, machine: Machine, watcher: Watcher
) -> HeldOut:
    """Judge `result` on the entries of `source` that `speckles` hide: exact sums, a block of rows in memory at a time.

    The data are read twice, first for the means of the columns.
    """
    with executing(source, resolved, machine, watcher=watcher) as executor:
        _, means = executor.sweep(_Means(speckles), None, {})
        step = _Judge(resolved.ingredients.loss, speckles, result.h, *_profile(means))
        _, found = executor.sweep(step, result.state.rows, {})
    return HeldOut(float(found["loss"]), float(found["plain"]), int(found["entries"]))


def _profile(means: Stats) -> tuple[Array, float]:
    """Each column's mean over that of all entries, and the latter; to each column an average entry is added."""
    overall = float(np.sum(means["sums"]) / max(1.0, float(np.sum(means["seen"]))))
    columns = (means["sums"] + overall) / (means["seen"] + 1)
    return columns / overall if overall > 0 else columns, overall


@dataclass(frozen=True)
class _Means:
    """The step that sums up what is seen of each column, `sums` (n,), and counts it, `seen` (n,)."""

    speckles: Speckles

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        del rows, shared
        m, n = x.shape
        sums = x.T.dot(np.ones_like(x.values, shape=(m, 1), dtype=np.float64))[:, 0].astype(np.float64)
        seen = x.observed()[1] if isinstance(x, Weighed) else np.full_like(sums, float(m))
        hidden = _hidden(x, self.speckles)
        sums -= np.bincount(hidden.columns, weights=hidden.values, minlength=n)
        seen -= np.bincount(hidden.columns, minlength=n)
        return {}, {"sums": np.maximum(sums, 0), "seen": seen}


@dataclass(frozen=True)
class _Judge:
    """The step that adds up the loss over the hidden entries."""

    loss: Any
    speckles: Speckles
    h: Array
    profile: Array
    overall: float

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        del shared
        hidden, tiny = _hidden(x, self.speckles), np.finfo(rows["w"].dtype).tiny
        means, found = self._row_means(x, hidden), {"loss": 0.0, "plain": 0.0, "entries": float(len(hidden.values))}
        step = max(1, CELLS // len(self.h))
        for lo in range(0, len(hidden.values), step):
            i, j, values = (entries[lo : lo + step] for entries in hidden)
            product = np.einsum("er,er->e", rows["w"][i], self.h.T[j], dtype=np.float64)
            plain = np.maximum(means[i] * self.profile[j], tiny)
            found["loss"] += _loss(self.loss, values, np.maximum(product, LEAST * plain))
            found["plain"] += _loss(self.loss, values, plain)
        return {}, found

    def _row_means(self, x: Block, hidden: _Hidden) -> Array:
        """The mean of what is seen of each row and one average entry."""
        rows, n = x.shape
        known = x.observed()[0] if isinstance(x, Weighed) else float(n)
        seen = known - np.bincount(hidden.rows, minlength=rows)
        ones = np.ones_like(x.values, shape=(n, 1), dtype=np.float64)
        sums = x.dot(ones)[:, 0] - np.bincount(hidden.rows, weights=hidden.values, minlength=rows)
        means: Array = (np.maximum(sums, 0) + self.overall) / (seen + 1)
        return means


def _loss(loss: Any, values: Array, product: Array) -> float:
    """Σ d(x, ŷ) over entries in no order, as a matrix of one column, which any loss takes."""
    if not len(values):
        return 0.0
    return float(loss.value(Dense(values[:, None]), LowRank(product[:, None], np.ones_like(product, shape=(1, 1)))))


class _Hidden(NamedTuple):
    """Entries of a block: numbers of rows and columns, and values in float64."""

    rows: Array
    columns: Array
    values: Array


def _hidden(x: Block, speckles: Speckles) -> _Hidden:
    """The hidden entries of `x`, but for those that are missing: nobody knows them."""
    block: Any = x.x if isinstance(x, Weighed) else x
    i, j = (np.asarray(a, like=block.values) for a in speckles.hidden(x.first, x.first + x.shape[0]))
    if not block.values.size:
        known = i[: len(i) if not isinstance(x, Weighed) or x.elsewhere > 0 else 0]
        return _Hidden(known, j[: len(known)], np.zeros_like(known, dtype=np.float64))
    stored, place = _places(block, i, j)
    if isinstance(x, Weighed):
        known = np.where(stored, x.weights[place], x.elsewhere) > 0
        i, j, stored = i[known], j[known], stored[known]
        place = (i, j) if isinstance(place, tuple) else place[known]
    values = np.where(stored, block.values[place], 0)
    return _Hidden(i, j, values.astype(np.float64))


def _places(block: Dense | CSR, i: Array, j: Array) -> tuple[Array, Any]:
    """Whether entries are stored, and where in `values` they are, or others if not."""
    if isinstance(block, Dense):
        return np.ones_like(i, dtype=bool), (i, j)
    rows = np.repeat(np.arange(block.shape[0], dtype=np.int64, like=i), np.diff(block.indptr))
    keys, wanted = rows * block.n + block.indices, i * block.n + j
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return keys[at] == wanted, at


def loss_of(result: Result, source: Source, resolved: Resolved, machine: Machine, watcher: Watcher) -> float:
    """The loss of W H on all entries that are known, without regularizers."""
    with executing(source, resolved, machine, watcher=watcher) as executor:
        _, found = executor.sweep(_Whole(resolved.ingredients.loss, result.h), result.state.rows, {})
    return float(found)


def reference(source: Source, resolved: Resolved, columns: Array, machine: Machine, watcher: Watcher) -> float:
    """The loss that a relative error is measured by: of zero if the loss is quadratic, else of row × column sums.

    `columns` (n,) are the column sums.
    """
    with executing(source, resolved, machine, watcher=watcher) as executor:
        _, found = executor.sweep(_Plain(resolved.ingredients.loss, columns / float(np.sum(columns))), None, {})
    return float(found)


@dataclass(frozen=True)
class _Whole:
    """The step that adds up the loss over all entries."""

    loss: Any
    h: Array

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        del shared
        return {}, float(self.loss.value(x, LowRank(rows["w"], self.h)))


@dataclass(frozen=True)
class _Plain:
    """The step that adds up the loss of what needs no factorization."""

    loss: Any
    profile: Array

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        del rows, shared
        if isinstance(self.loss, HasGram):
            return {}, float(self.loss.offset(x))
        sums, profile = x.dot(np.ones_like(x.values, shape=(x.shape[1], 1))), self.profile.astype(x.dtype)
        if isinstance(x, Weighed):  # what the row would sum up to if all of it were known
            sums = sums / np.maximum(x.weigh(profile[:, None]), np.finfo(x.dtype).tiny)
        return {}, float(self.loss.value(x, LowRank(sums.astype(x.dtype), profile[None])))
