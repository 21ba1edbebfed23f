"""The small matrices that the tests of fits share, and what they are compared by."""

from __future__ import annotations

import numpy as np

RNG = np.random.default_rng(7)
X = RNG.gamma(0.5, 2.0, (60, 4)) @ RNG.gamma(0.5, 2.0, (4, 40)) + 0.01 * RNG.random((60, 40))
COUNTS = RNG.poisson(X).astype(float)
QUICK = {"rank": 4, "max_sweeps": 15, "tol": 0}


def same(a, b, tolerance=1e-9):
    np.testing.assert_allclose(a.objective, b.objective, rtol=tolerance)
    np.testing.assert_allclose(a.w @ a.h, b.w @ b.h, rtol=1e-6, atol=1e-8 * float(np.max(b.w @ b.h)))


def halved_squares(x, r):
    return 0.5 * np.sum((x - r.w @ r.h) ** 2)
