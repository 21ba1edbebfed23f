"""The objective of deep-nmf never rises: every β, both sums, with and without volume, in any chunks, on either side."""

from __future__ import annotations

import numpy as np
import pytest
from deep_fits import deep, hs, losses, ws
from hypothesis import given, settings
from hypothesis import strategies as st

from nmfkit.blocks import Dense
from nmfkit.testing import Chunked
from nmfkit.testing import strategies as some
from nmfkit.testing.compare import roundoff

BETAS = (-0.5, 0, 0.5, 1, 1.5, 2)
VOLUMES = {"free": (), "volume": ("minvol:0.5,delta=0.1",)}


@st.composite
def problems(draw, beta):
    """Awkward data in any chunks, two or three layers of either side, updates from ahead or not, at once or not."""
    x = some.with_something(draw(some.matrices(positive=beta <= 0)))
    ranks = draw(st.sampled_from([(3, 2), (4, 3, 2), (2, 1), (5, 2, 1)]))
    source = Chunked(x, draw(some.chunkings(len(x))), is_sparse=draw(st.booleans()))
    model = {
        "side": draw(st.sampled_from(["coefficients", "components"])),
        "extrapolate": draw(st.booleans()),
        "joint": draw(st.booleans()),
    }
    return source, ranks, draw(st.integers(0, 9)), model


def assert_never_rises(fit, x):
    objectives = fit.history.objective
    assert np.isfinite(objectives).all()
    slack = 1e-9 * np.abs(objectives[:-1]) + rounding(fit, x)
    assert not (np.diff(objectives) > slack).any(), objectives.tolist()


def rounding(fit, x):
    """What the sums of terms of all layers round to, in their weights."""
    loss, weights = fit.model.parts.loss, losses(fit).weights
    of_rows = fit.model.side == "coefficients"
    data = [x, *(ws(fit) if of_rows else [h.T for h in hs(fit)])[:-1]]
    return 10 * sum(weight * roundoff(loss, Dense(d)) for weight, d in zip(weights, data, strict=True))


EXAMPLES = [4, pytest.param(60, marks=pytest.mark.slow)]


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("volume", VOLUMES)
@pytest.mark.parametrize("normalize", ["h", "w"])
@pytest.mark.parametrize("beta", BETAS)
def test_objective_never_rises(beta, normalize, volume, examples):
    @settings(max_examples=examples)
    @given(problems(beta))
    def holds(drawn):
        source, ranks, seed, model = drawn
        option = "reg_w" if model["side"] == "coefficients" else "reg_h"
        fit = deep(
            source, ranks, beta=beta, normalize=normalize, sweeps=10, init_sweeps=3, seed=seed, model=model,
            **{option: list(VOLUMES[volume])},
        )  # fmt: skip
        assert_never_rises(fit, source.x)
        for f in hs(fit) if normalize == "h" else ws(fit):
            np.testing.assert_allclose(f.sum(1 if normalize == "h" else 0), 1, rtol=0, atol=1e-9)

    holds()


RNG = np.random.default_rng(5)
X = RNG.gamma(0.5, 1.0, (40, 5)) @ RNG.gamma(0.5, 1.0, (5, 26)) + 0.02


SLOW_WEIGHTS = [pytest.param(weight, marks=pytest.mark.slow) for weight in (1e-1, 1e2)]


@pytest.mark.parametrize("raw", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["balanced", "raw"])
@pytest.mark.parametrize("normalize", ["h", "w"])
@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("weight", [1e-3, *SLOW_WEIGHTS, 1e4])
def test_weights_of_any_size_lower_the_objective_and_do_not_collapse(weight, beta, normalize, raw):
    """λ₂/λ₁ = 1e-3 is where a step that computes W̄ eᵃ overflows and leaves the floor in all of W₁."""
    model = {"weights": f"1+{weight}+{weight}", "raw": raw, "extrapolate": False}
    fit = deep(X, beta=beta, normalize=normalize, sweeps=40, model=model)
    told = losses(fit)
    assert_never_rises(fit, X)
    for w in ws(fit):
        assert (w.sum(0) > 1e-3 * w.sum() / w.shape[1]).all()
    if raw:
        return
    if weight < 1:  # what the first layer gives up for the others is little, for they count for little
        assert told.end[0] <= 1.05 * told.start[0]
    else:
        assert told.end[1] < 0.7 * told.start[1]
        assert told.end[2] < 0.7 * told.start[2]


SLOW_VOLUMES = [
    (alpha, delta) for alpha in (1e-4, 1e-1, 10) for delta in (1, 1e-2, 1e-6) if (alpha, delta) != (10, 1e-6)
]


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize(
    ("alpha", "delta"), [(10, 1e-6), *(pytest.param(*pair, marks=pytest.mark.slow) for pair in SLOW_VOLUMES)]
)
def test_volumes_of_any_weight_lower_the_objective(alpha, delta, beta):
    parts = [f"minvol:{alpha},delta={delta},weight=absolute"]
    fit = deep(X, (5, 3), beta=beta, normalize="w", sweeps=25, reg_w=parts, model={"extrapolate": False})
    assert_never_rises(fit, X)
    for w in ws(fit):
        np.testing.assert_allclose(w.sum(0), 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("beta", [0.5, 1, *(pytest.param(beta, marks=pytest.mark.slow) for beta in (-0.5, 0, 1.5, 2))])
def test_extrapolation_is_ahead_in_fewer_sweeps(beta):
    """From nearly the same start: first steps have nowhere ahead to start from, but some may be longer already."""
    model = {"weights": "1+1+1", "raw": True, "joint": False}
    plain, ahead = (
        deep(X, beta=beta, sweeps=200, init_sweeps=1, model={**model, "extrapolate": extrapolate})
        for extrapolate in (False, True)
    )
    assert ahead.history.objective[0] == pytest.approx(plain.history.objective[0], rel=1e-9 if beta in (1, 2) else 0.5)
    reached = int(np.argmax(ahead.history.objective <= plain.history.objective[-1]))
    assert ahead.history.objective[-1] <= plain.history.objective[-1]
    assert reached <= 150
