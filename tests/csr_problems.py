"""Sparse matrices and factors of them, for kernels on either side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nmfkit.testing import to_device, to_host

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}


@dataclass(frozen=True)
class Problem:
    values: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    n: int
    w: np.ndarray
    h: np.ndarray

    @property
    def parts(self):
        return self.values, self.indices, self.indptr

    @property
    def pattern(self):
        return self.indices, self.indptr


def problem(rows, n, r, dtype=np.float64, seed=0, most=9, numbers=(np.int32, np.int32)):
    """Rows of any length with columns in any order, some of them twice, and every third row empty."""
    rng = np.random.default_rng([seed, rows, n, r])
    counts = rng.integers(0, most, rows) * (np.arange(rows) % 3 != 1)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(numbers[1])
    indices = rng.integers(0, n, indptr[-1]).astype(numbers[0])
    values = (rng.gamma(1.0, size=len(indices)) * (rng.random(len(indices)) < 0.9)).astype(dtype)
    return Problem(values, indices, indptr, n, rng.random((rows, r)).astype(dtype), rng.random((r, n)).astype(dtype))


def same(found, expected, dtype):
    found = to_host(found)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def there(p):
    return Problem(*map(to_device, (p.values, p.indices, p.indptr)), p.n, to_device(p.w), to_device(p.h))
