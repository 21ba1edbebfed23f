import numpy as np
import pytest
from nmfkit_huber.huber import Huber

import nmfkit
from nmfkit.testing import LossContract


class TestHuber(LossContract):
    def make(self):
        return Huber(0.5)


def test_a_large_delta_is_the_squared_error():
    x = np.random.default_rng(0).random((30, 12))
    mine = nmfkit.fit(x, loss=Huber(100.0), rank=3, rule="mu", max_sweeps=20)
    theirs = nmfkit.fit(x, loss="frobenius", rank=3, rule="mu", max_sweeps=20)
    np.testing.assert_allclose(mine.objective, theirs.objective)
    np.testing.assert_allclose(mine.w, theirs.w)


def test_an_outlier_moves_the_fit_less():
    rng = np.random.default_rng(0)
    clean = rng.random((60, 2)) @ rng.random((2, 15))
    x = clean.copy()
    x[7, 3] += 100
    error = {}
    for loss in ("frobenius", Huber(0.1)):
        result = nmfkit.fit(x, loss=loss, rank=2, rule="mu", max_sweeps=500, tol=0)
        error[type(loss)] = np.abs(result.w @ result.h - clean).sum()
    assert error[Huber] < error[str] / 10


@pytest.mark.parametrize("delta", [0.0, -1.0, float("nan"), float("inf")])
def test_delta_must_be_positive(delta):
    with pytest.raises(ValueError, match="delta must be"):
        Huber(delta)
