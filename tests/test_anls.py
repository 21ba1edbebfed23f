"""Alternating nonnegative least squares: each update is SciPy's, penalties included, and fits end at a minimum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmfkit_plugins.beta.anls import ANLS
from scipy.optimize import nnls
from small import COUNTS, QUICK, RNG, X, halved_squares, same

import nmfkit
from nmfkit.blocks import Dense
from nmfkit.protocols import Moment, Penalty, Term
from nmfkit.registry import registry
from nmfkit.testing import Chunked
from nmfkit.testing import strategies as some
from nmfkit.testing.compare import roundoff

FROBENIUS = registry().build("loss", "frobenius")


def updated(x, w, h, *regularizers):
    rule, parts = ANLS(), tuple(registry().build("regularizer", text) for text in regularizers)
    term = Term(FROBENIUS, Dense(x), None, h.T)
    penalty = Penalty(parts, tuple(part.stat(w) for part in parts))
    return rule.update(w, FROBENIUS, rule.prepare(FROBENIUS, h.T), rule.gather(term), penalty, Moment(0.0))


@given(st.integers(0, 2**32), st.sampled_from([0, 0.5]), st.sampled_from([0, 2.0]))
def test_an_update_is_nonnegative_least_squares(seed, l1, l2):
    rng = np.random.default_rng(seed)
    x, w, h = rng.random((6, 9)), rng.random((6, 3)), rng.random((3, 9)) + 0.1
    # ½ λ ‖f‖² is λ more rows, and a linear term can be put into the target of any of full rank.
    a = np.vstack([h.T, np.sqrt(l2) * np.eye(3)])
    targets = np.hstack([x, np.zeros((6, 3))]) - np.linalg.lstsq(a.T, np.full(3, l1), rcond=None)[0]
    expected = np.array([nnls(a, target)[0] for target in targets])
    np.testing.assert_allclose(updated(x, w, h, f"l1:{l1}", f"l2:{l2}"), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "mix", [(), ("l1:0.3",), ("l2:0.3",), ("minvol:0.1",)], ids=lambda mix: "+".join(mix) or "none"
)
def test_objective_never_rises(mix):
    @given(some.matrices(), st.data(), some.ranks, st.integers(0, 9))
    def holds(x, data, rank, seed):
        x = some.with_something(x)
        source = Chunked(x, data.draw(some.chunkings(len(x))))
        found = nmfkit.fit(source, rank=rank, rule="anls", reg_h=mix, seed=seed, max_sweeps=12, tol=0, threads=1)
        objectives = found.history.objective
        assert np.all(np.diff(objectives) <= 1e-9 * np.abs(objectives[:-1]) + 10 * roundoff(FROBENIUS, Dense(x)))

    holds()


def test_a_fit_is_as_good_as_hals_and_says_its_objective():
    options = {"rank": 4, "max_sweeps": 300, "tol": 1e-9, "init": "random"}
    found, other = (nmfkit.fit(X, rule=rule, **options) for rule in ("anls", "hals"))
    assert found.objective == pytest.approx(halved_squares(X, found))
    assert found.objective <= 1.01 * other.objective
    assert (nmfkit.fit(COUNTS, rule="anls", **options).w == 0).any()


def test_blocks_and_dtypes():
    whole = nmfkit.fit(X, rule="anls", init="random", **QUICK)
    same(nmfkit.fit(Chunked(X, [(0, 7), (7, 60)]), rule="bpp", init="random", **QUICK), whole)
    single = nmfkit.fit(X.astype(np.float32), rule="anls", init="random", **QUICK)
    assert single.w.dtype == np.float32
    assert single.objective == pytest.approx(whole.objective, abs=1e-5 * float(np.sum(X**2)))


def test_extrapolation_is_an_option():
    x = RNG.random((50, 30))
    plain, ahead = (
        nmfkit.fit(x, rule=f"anls:extrapolate={on}", rank=5, max_sweeps=40, tol=0, init="random").objective
        for on in ("no", "yes")
    )
    assert ahead < plain


def test_only_quadratic_losses():
    with pytest.raises(nmfkit.errors.UsageError, match="anls"):
        nmfkit.fit(X, loss="kl", rank=2, rule="anls")
