"""Small fits by the input-guided estimators, for several test files."""

from __future__ import annotations

import numpy as np
import pytest
from nmfkit_plugins.mdsr import network_of
from positive import X

from nmfkit.estimators import IGMDSR, IGMDSRRelaxed

QUICK = {"random_state": 0, "threads": 1, "hidden_sizes": (9, 6), "max_iter": 4, "tol": 0}
SIGNED = X - X.mean(axis=0)
SIGNED[:, 5] = 2.5
FOLD = {"preprocess": "zscore-fold"}
BOTH = pytest.mark.parametrize("kind", [IGMDSR, IGMDSRRelaxed])


def made(kind=IGMDSR, rank=4, **options):
    return kind(rank, **{**QUICK, **options})


def fitted(x, kind=IGMDSR, **options):
    return made(kind, **options).fit(x)


def alike(one, other):
    """Whether two estimators have the same weights, bit by bit."""
    mine, theirs = (network_of(e._encoder) for e in (one, other))
    assert mine.keys() == theirs.keys()
    for name, weights in mine.items():
        np.testing.assert_array_equal(weights, theirs[name], err_msg=name)


def trained(x, kind=IGMDSR, times=4, **options):
    e = made(kind, checkpoint="last", **options)
    for _ in range(times):
        e.partial_fit(x)
    return e
