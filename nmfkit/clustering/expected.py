"""The mutual information that two groupings have by chance."""

from __future__ import annotations

import math

import numpy as np

from nmfkit.blocks import Array

REACH = 12.0
"""Standard deviations from the mean beyond which a count is not looked at: it has no part that a float could hold."""

LEAST_REACH = 150
"""The same in things, where few are expected."""


def expected_information(table: Array) -> float:
    """The mean of the mutual information over all tables with the row and column sums of `table`, in nats.

    Each pair of sums a, b of n things has in common j of them with the hypergeometric probability P(j), and
    E = Σ_ab Σ_j P(j) (j / n) log(n j / (a b)) (Vinh, Epps & Bailey, Journal of Machine Learning Research 11, 2010).
    """
    rows, columns = (np.unique(table.sum(axis=axis), return_counts=True) for axis in (1, 0))
    n = int(table.sum())
    pairs = ((a, b, i * j) for a, i in zip(*map(np.ndarray.tolist, rows), strict=True)
             for b, j in zip(*map(np.ndarray.tolist, columns), strict=True))  # fmt: skip
    return math.fsum(times * _of_pair(a, b, n) for a, b, times in pairs if a and b)


def _of_pair(a: int, b: int, n: int) -> float:
    """Σ_j P(j) (j / n) log(n j / (a b))."""
    from scipy.special import gammaln

    mean = a * b / n
    reach = REACH * math.sqrt(mean * (n - a) / n) + LEAST_REACH
    low, high = max(0, a + b - n, math.floor(mean - reach)), min(a, b, math.ceil(mean + reach))
    j = np.arange(low, high + 1)
    logs = -(gammaln(j + 1) + gammaln(a - j + 1) + gammaln(b - j + 1) + gammaln(n - a - b + j + 1))
    parts = np.exp(logs - logs.max())
    worth = j / n * np.log(np.maximum(j, 1) * (n / (a * b)))
    return float(parts @ worth / parts.sum())
