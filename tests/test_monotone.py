"""The objective never rises: every β with every mix of regularizers, on awkward data, in any chunks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nmfkit
from nmfkit.blocks import Dense
from nmfkit.testing import Chunked
from nmfkit.testing import strategies as some
from nmfkit.testing.compare import roundoff

BETAS = (-1, 0, 0.5, 1, 1.5, 2, 3)
MIXES = ((), ("l1:0.3",), ("l2:0.3",), ("l1:0.3", "l2:0.3"))
PAIRS = [(w, h) for w in MIXES for h in MIXES]


@st.composite
def problems(draw, beta):
    x = some.with_something(draw(some.matrices(positive=beta <= 0)))
    return Chunked(x, draw(some.chunkings(len(x)))), draw(some.ranks), draw(st.integers(0, 9))


def assert_never_rises(fitted, x, loss):
    objectives = fitted.history.objective
    assert np.isfinite(objectives).all()
    slack = 1e-9 * np.abs(objectives[:-1]) + 10 * roundoff(loss, Dense(x))
    rises = np.diff(objectives) > slack
    assert not rises.any(), objectives.tolist()


@pytest.mark.parametrize(("reg_w", "reg_h"), PAIRS, ids=lambda mix: "+".join(t[:2] for t in mix) or "none")
@pytest.mark.parametrize(("rule", "beta"), [*(("mu", beta) for beta in BETAS), ("hals", 2), ("hals:2,settle=0", 2)])
def test_objective_never_rises(rule, beta, reg_w, reg_h):
    # The pairs have the cases among them: half as many for each.
    @settings(max_examples=settings().max_examples // 2)
    @given(problems(beta))
    def holds(drawn):
        source, rank, seed = drawn
        fitted = nmfkit.fit(
            source, loss=f"beta:{beta}", rank=rank, rule=rule, reg_w=reg_w, reg_h=reg_h, seed=seed,
            max_sweeps=12, tol=0, threads=1,
        )  # fmt: skip
        assert_never_rises(fitted, source.x, fitted.model.parts.loss)

    holds()
