"""A prior on the components: a divergence from a known matrix, beside the loss."""

from __future__ import annotations

import numpy as np
import pytest
from nmfkit_plugins.deep.prior import Prior

import nmfkit
from nmfkit.errors import Incompatible, UsageError
from nmfkit.surrogate import gradient

RNG = np.random.default_rng(0)
X = RNG.random((30, 3)) @ RNG.random((3, 12)) + 0.05 * RNG.random((30, 12))
NEAR = RNG.random((3, 12)) + 0.1


def fitted(prior, loss="kl", **options):
    return nmfkit.fit(X, rank=3, loss=loss, rule="mu", reg_h=[prior], max_sweeps=150, tol=0, threads=1, **options)


@pytest.mark.parametrize("beta", [-0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0])
def test_its_surrogate_has_the_slope_of_the_penalty(beta):
    prior, f = Prior(0.7, NEAR, beta), RNG.random((12, 3)) + 0.1
    step = 1e-6 * RNG.uniform(-1, 1, f.shape)
    slope = prior.value(prior.stat(f + step)) - prior.value(prior.stat(f - step))
    assert np.sum(2 * step * gradient(prior.surrogate(f, prior.stat(f)))) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("loss", ["beta:-0.5", "is", "beta:0.5", "kl", "beta:1.5", "frobenius"])
@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
def test_no_sweep_raises_the_objective(loss, beta):
    objective = fitted(Prior(0.5, NEAR, beta), loss).history.objective
    assert (np.diff(objective) <= 1e-9 * np.abs(objective[:-1])).all()


def test_weights_lead_from_a_free_fit_to_the_prior():
    away = [float(np.abs(fitted(Prior(weight, NEAR)).h - NEAR).max()) for weight in (1e-6, 1.0, 1e2, 1e6)]
    assert away == sorted(away, reverse=True)
    assert away[-1] < 1e-4 < away[0]


def test_it_acts_on_h_alone():
    with pytest.raises(Incompatible, match="couples the rows"):
        nmfkit.fit(X, rank=3, loss="kl", reg_w=[Prior(1.0, NEAR)], threads=1)


def test_another_shape_is_refused():
    with pytest.raises(UsageError, match=r"\(3, 12\).*\(4, 12\)"):
        nmfkit.fit(X, rank=4, loss="kl", reg_h=[Prior(1.0, NEAR)], threads=1)


@pytest.mark.parametrize("matrix", [-NEAR, NEAR[0], np.zeros((3, 12)), np.full((3, 12), np.nan)])
def test_what_is_no_nonnegative_matrix_is_refused(matrix):
    with pytest.raises(ValueError, match="prior"):
        Prior(1.0, matrix)
    with pytest.raises(ValueError, match="weight"):
        Prior(-1.0, NEAR)
