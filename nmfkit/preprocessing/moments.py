"""Mean and spread of each column of X as an additive statistic.

Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", COMPSTAT 1982, and
"Algorithms for computing the sample variance", The American Statistician 37(3), 1983.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nmfkit.blocks import CSR, Array, Block
from nmfkit.errors import Incompatible
from nmfkit.protocols import Rows, Shared, Stats
from nmfkit.weighed import Weighed

STATISTIC = "moments"
"""The name of the statistic of `moments_of`."""


@dataclass(frozen=True)
class Moments:
    """Of `count` rows: the mean of each column, and `m2` (n,), the sum of squared deviations from it.

    The mean is `mean` + `rest` (n,), the second being what the first is rounded by: of many blocks with a mean far
    above the spread, m2 would have the rounding of all their means. The sum of two has the moments of the rows of
    both, with d = mean_b − mean_a: mean = mean_a + d count_b / count and m2 = m2_a + m2_b + d² count_a count_b / count
    (Chan, Golub & LeVeque 1982, 2.1).
    """

    count: int
    mean: Array
    rest: Array
    m2: Array

    def __add__(self, other: Moments) -> Moments:
        count, share = self.count + other.count, other.count / (self.count + other.count)
        with np.errstate(over="ignore", invalid="ignore"):
            apart = (other.mean - self.mean) + (other.rest - self.rest)
            m2 = self.m2 + other.m2 + apart * apart * (self.count * share)
            return Moments(count, *_rounded(self.mean, self.rest + apart * share), m2)

    @property
    def deviation(self) -> Array:
        """The standard deviation of each column (n,), of the population: √(m2 / count)."""
        root: Array = np.sqrt(self.m2 / self.count)
        return root


def moments_of(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """The step of a sweep over X: no rows, and the `Moments` of the block in float64 as `STATISTIC`.

    Of a CSR block, only stored entries are read. Raises `Incompatible` where entries are missing or weighed.
    """
    del rows, shared
    unweighed(x)
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large is refused later, with more to say
        return {}, {STATISTIC: _of_stored(x) if isinstance(x, CSR) else _of_all(x.dense())}


def unweighed(x: Block) -> None:
    """Raise `Incompatible` for a block of which entries are missing, or count more than others."""
    if isinstance(x, Weighed):
        raise Incompatible(
            [
                "preprocessing takes the mean and the spread of whole columns, and entries of this matrix are missing "
                "or have weights: fit without preprocessing, or fill what is missing first"
            ]
        )


def _of_all(x: Array) -> Moments:
    """Of every entry `x` (k, n), in two passes, the second of which makes up for the rounding of the mean.

    The first row is taken off first, so that no digits go to what all rows have in common.
    """
    count, base = len(x), x[0].astype(np.float64)
    d = np.subtract(x, base, dtype=np.float64)
    shift = np.sum(d, axis=0) / count
    d -= shift
    left = np.sum(d, axis=0)
    d *= d
    return _corrected(count, base, shift, left, np.sum(d, axis=0))


def _of_stored(x: CSR) -> Moments:
    """The same from stored entries: the others are as far from the mean as zero is."""
    count, one = x.shape[0], np.ones_like(x.values, shape=(x.shape[0], 1), dtype=np.float64)
    stored = np.bincount(x.indices, minlength=x.n)
    mean = x.tdot(one)[:, 0] / count
    d = x.values - np.take(mean, x.indices)
    absent = (count - stored).astype(np.float64)
    left = x.like(d).tdot(one)[:, 0] - absent * mean
    return _corrected(count, mean, 0.0, left, x.like(d * d).tdot(one)[:, 0] + absent * mean * mean)


def _corrected(count: int, mean: Array, beside: Array | float, left: Array, squares: Array) -> Moments:
    """Moments from the sums of the deviations from nearly the mean, `mean` + `beside`, and of their squares."""
    return Moments(count, *_rounded(mean, beside + left / count), np.maximum(squares - left * left / count, 0))


def _rounded(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b, and what it is rounded by: the two sum up to a + b exactly (Knuth, TAOCP 2, 4.2.2)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)
