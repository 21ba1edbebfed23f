"""The start from a short fit is that fit, and refuses what it cannot fit."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from nmfkit_plugins.beta.hals import HALS
from nmfkit_plugins.starts.hals import Fitted

import nmfkit
from nmfkit.errors import DataError
from nmfkit.probe import Probe
from nmfkit.testing import mixtures

X = mixtures.dirichlet_weights(120, 5, 0) @ mixtures.sparse_components(5, 30, 0)


@pytest.mark.parametrize("sweeps", [1, 4])
@pytest.mark.parametrize("x", [X, X.astype(np.float32), sp.csr_array(X)], ids=["dense", "float32", "sparse"])
def test_it_is_the_fit_that_it_says(x, sweeps):
    fit = nmfkit.fit(x, rank=5, rule=HALS(extrapolate=False), max_sweeps=sweeps, tol=0, seed=2)
    found = nmfkit.fit(x, rank=5, init=f"hals:{sweeps}", rule=HALS(extrapolate=False), max_sweeps=0, seed=2)
    np.testing.assert_array_equal(found.h, fit.h)
    assert found.objective == pytest.approx(fit.objective, rel=1e-12)


def test_more_sweeps_start_lower():
    objectives = [
        nmfkit.fit(X, rank=5, init=init, rule="hals", max_sweeps=0).objective for init in ("random", "hals:2")
    ]
    objectives.append(nmfkit.fit(X, rank=5, init="hals:30", rule="hals", max_sweeps=0).objective)
    assert objectives == sorted(objectives, reverse=True)
    assert objectives[2] < 0.01 * objectives[0]


def test_other_losses_may_start_from_it():
    result = nmfkit.fit(X + 0.01, rank=5, loss="kl", init="hals:20", max_sweeps=5, tol=0)
    assert (np.diff(result.history.objective) <= 0).all()


def test_negative_entries_are_refused():
    probe = Probe(
        shape=(4, 3), total=1.0, squares=4.0, nonzero=12, low=-0.25, high=1.0, row_zeros=0, column_zeros=0,
        columns=np.ones(3),
    )  # fmt: skip
    with pytest.raises(DataError, match=r"negative entries \(the lowest is -0.25\): start from init 'spa'"):
        Fitted().start(None, probe, 2, 0, "float64")


def test_refused_options():
    with pytest.raises(ValueError, match="sweeps must be at least 1, not 0"):
        Fitted(0)
    with pytest.raises(nmfkit.UsageError, match="sweeps must be at least 1"):
        nmfkit.fit(X, rank=2, init="hals:0")
