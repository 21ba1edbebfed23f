"""Trustworthiness and continuity: whether rows that are near in one matrix are near in the other.

With r(i, j) the rank of row j by its distance to row i in X, and N_k(i) the k nearest others of row i in W, the
trustworthiness (Venna & Kaski, ICANN 2001; Kaski et al., BMC Bioinformatics 4:48, 2003, eq. 1) is

    T(k) = 1 − 2 / (m k (2m − 3k − 1)) Σ_i Σ_{j in N_k(i)} max(0, r(i, j) − k)

The continuity is the same with X and W exchanged. Both are 1 where no neighbourhood changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmfkit.affinity.euclidean import Euclidean
from nmfkit.affinity.look import largest
from nmfkit.affinity.nearest import Nearest
from nmfkit.affinity.search import Sizes, search
from nmfkit.blocks import Array
from nmfkit.embedding.asked import NEIGHBOURS, SEED, counts_of, drawn, refuse_many, refuse_other_rows
from nmfkit.embedding.matrices import matrix_of, some_rows
from nmfkit.embedding.ranks import SIZES, ranks
from nmfkit.executors.each import serially
from nmfkit.loop import Watcher
from nmfkit.protocols import Source


@dataclass(frozen=True)
class Preserved:
    """What a matrix W keeps of the neighbourhoods in another one, for each number of `neighbours`.

    `against` says which one: "X", or "view" for what the model makes of X.
    """

    against: str
    neighbours: tuple[int, ...]
    trustworthiness: tuple[float, ...]
    continuity: tuple[float, ...]


def trustworthiness(
    x: Any, w: Any, neighbours: int | Sequence[int] = NEIGHBOURS, *, sample: int | str | None = None, seed: int = SEED
) -> Any:
    """How far the nearest rows of `w` (m, r) are near in `x` (m, n), by Euclidean distances: 1 is the best.

    T(k) = 1 − 2 / (m k (2m − 3k − 1)) Σ_i Σ_{j in N_k(i)} max(0, r(i, j) − k), where N_k(i) are the k nearest rows in
    `w` and r(i, j) the rank of row j in `x` (Venna & Kaski, ICANN 2001; Kaski et al., BMC Bioinformatics 4:48, 2003).
    Of rows at equal distance those with a lower number are nearer. `x` and `w` are arrays, sparse matrices, paths, or
    what else `open_source` takes, and are read by blocks: no m × m matrix is formed.

    A float, or for several `neighbours` a dict by their number, from one pass over the distances. `sample` rows are
    drawn by `seed`, and ranks are those among them; "all" or 0 takes all rows, which is also done unless there are
    more than 3,000. Raises `UsageError` where lengths differ or k is not below half the rows, `DataError` for NaN.
    """
    return _one(x, w, neighbours, sample, seed, _Pair.trustworthiness)


def continuity(
    x: Any, w: Any, neighbours: int | Sequence[int] = NEIGHBOURS, *, sample: int | str | None = None, seed: int = SEED
) -> Any:
    """How far the nearest rows of `x` (m, n) are near in `w` (m, r): `trustworthiness` with the two exchanged.

    Arguments, result and errors are those of `trustworthiness`; source: Venna & Kaski, ICANN 2001, and Kaski et al.,
    BMC Bioinformatics 4:48, 2003, eq. 2.
    """
    return _one(x, w, neighbours, sample, seed, _Pair.continuity)


def _one(x: Any, w: Any, neighbours: Any, sample: Any, seed: int, measure: Any) -> Any:
    asked = counts_of(neighbours)
    one, other = matrix_of(x, "x"), matrix_of(w, "w")
    refuse_other_rows(one, other)
    rows = drawn(one.shape[0], sample, seed)
    pair = _Pair(some_rows(one, rows), some_rows(other, rows), asked)
    found: Mapping[int, float] = dict(zip(asked, measure(pair), strict=True))
    return found if isinstance(neighbours, Sequence) or np.ndim(neighbours) else found[asked[0]]


def preserved(
    x: Source, w: Source, neighbours: tuple[int, ...], against: str, watcher: Watcher, sizes: Sizes = SIZES
) -> Preserved:
    """Both measures of all rows of `w` (m, r) beside `x` (m, n), neighbours being searched once.

    Raises `UsageError` where there are too few rows, `DataError` for NaN and infinities.
    """
    pair = _Pair(x, w, neighbours, watcher, sizes)
    return Preserved(against, neighbours, pair.trustworthiness(), pair.continuity())


class _Pair:
    """X and W, with their nearest rows once they are known."""

    def __init__(
        self,
        x: Source,
        w: Source,
        neighbours: tuple[int, ...],
        watcher: Watcher | None = None,
        sizes: Sizes = SIZES,
    ) -> None:
        refuse_many(neighbours, x.shape[0])
        self.neighbours, watcher = neighbours, watcher or Watcher()
        self.x, self.w = (_Side(one, max(neighbours), watcher, sizes) for one in (x, w))

    def trustworthiness(self) -> tuple[float, ...]:
        """Of the nearest rows of W, in X."""
        return self._kept(self.x.ranks(self.w.nearest().columns))

    def continuity(self) -> tuple[float, ...]:
        """Of the nearest rows of X, in W."""
        return self._kept(self.w.ranks(self.x.nearest().columns))

    def _kept(self, found: Array) -> tuple[float, ...]:
        return tuple(kept(found, k) for k in self.neighbours)


class _Side:
    """One of the two matrices."""

    def __init__(self, source: Source, k: int, watcher: Watcher, sizes: Sizes) -> None:
        self._source, self._k, self._watcher, self._sizes = source, k, watcher, sizes
        self._metric = Euclidean(math.frexp(largest(source, serially, sizes.block))[1])
        self._nearest: Nearest | None = None

    def nearest(self) -> Nearest:
        """The k nearest others of each row."""
        if self._nearest is None:
            self._nearest = search(self._source, self._metric, self._k, serially, self._watcher, self._sizes)
        return self._nearest

    def ranks(self, columns: Array) -> Array:
        """The ranks of these rows (m, k) here."""
        return ranks(self._source, self._metric, columns, self._watcher, self._sizes)


def kept(found: Array, k: int) -> float:
    """1 less the excess of ranks over k, of the first k columns of `found` (m, K), over the most that it can be."""
    m = len(found)
    excess = int(np.maximum(found[:, :k] - k, 0).sum())
    return 1.0 - excess * (2.0 / (m * k * (2.0 * m - 3.0 * k - 1.0)))
