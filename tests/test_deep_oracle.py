"""Sweeps of deep-nmf are those of a plain implementation in memory, in whatever blocks the data come."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from deep_fits import PLAIN, assert_falls, deep, hs, losses, oracle_of, turned, ws
from oracles.deep import multilayer, volume
from oracles.divergence import divergence

from nmfkit.testing import Chunked

RANKS = (5, 3, 2)
SWEEPS = 20
RNG = np.random.default_rng(11)
X = RNG.gamma(0.6, 1.0, (34, 4)) @ RNG.gamma(0.6, 1.0, (4, 21)) * RNG.gamma(5, 0.2, (34, 21)) + 1e-2
COUNTS = RNG.poisson(2 * X).astype(float) * (RNG.random(X.shape) < 0.5)
BLOCKS = {
    "whole": [(0, 34)],
    "blocked": [(0, 5), (5, 6), (6, 20), (20, 34)],
}
BETAS = (-0.5, 0, 0.5, 1, 1.5, 2, 3)
SLOW_BETAS = [pytest.param(beta, marks=pytest.mark.slow) for beta in (-0.5, 0.5, 1.5)]


def data(beta):
    """Zeros among the entries, where the loss allows them."""
    return X if beta <= 0 else COUNTS + 0.5 * X * (COUNTS > 0)


def source(x, blocks, kind):
    return Chunked(x, BLOCKS[blocks], is_sparse=kind == "csr")


def close(found, exact, rtol=1e-10):
    """Every factor to within 1e-10 of its largest entry."""
    for ours, theirs in zip(found, exact, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=rtol * float(np.abs(theirs).max()))


@cache
def reference(beta, normalize, at_once=False):
    """The oracle after as many sweeps from the start of a fit, and its objectives."""
    fit = deep(data(beta), beta=beta, normalize=normalize, sweeps=0, model={**PLAIN, "joint": at_once})
    oracle = oracle_of(fit, data(beta), beta, normalize)
    objectives = [oracle.objective()]
    for _ in range(SWEEPS):
        if at_once:
            oracle.sweep_at_once()
        else:
            oracle.steps_h()
            oracle.steps_w()
        objectives.append(oracle.objective())
    assert_falls(objectives)
    return oracle, objectives


def assert_is_reference(beta, normalize, x, at_once=False, tolerance=1e-10):
    fit = deep(x, beta=beta, normalize=normalize, sweeps=SWEEPS, model={**PLAIN, "joint": at_once})
    oracle, objectives = reference(beta, normalize, at_once)
    close(ws(fit), oracle.w, tolerance)
    close(hs(fit), oracle.h, tolerance)
    np.testing.assert_allclose(fit.history.objective, objectives, rtol=tolerance)


@pytest.mark.parametrize("kind", ["dense", "csr"])
@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("beta", BETAS)
def test_twenty_sweeps_are_those_of_the_oracle(beta, blocks, kind):
    assert_is_reference(beta, "h", source(data(beta), blocks, kind))


@pytest.mark.parametrize("kind", ["dense", "csr"])
@pytest.mark.parametrize("blocks", BLOCKS)
def test_twenty_sweeps_at_once_are_those_of_the_oracle(blocks, kind):
    assert_is_reference(1, "h", source(data(1), blocks, kind), at_once=True)


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("beta", [0, 1, 2, *SLOW_BETAS])
def test_twenty_sweeps_with_columns_of_w_are_those_of_the_oracle(beta, blocks):
    assert_is_reference(beta, "w", source(data(beta), blocks, "dense"), tolerance=1e-9)


@pytest.mark.parametrize("normalize", ["h", "w"])
@pytest.mark.parametrize("beta", [-0.5, 0, 0.5, 1, 1.5, 2])
def test_the_factors_have_their_sums(beta, normalize):
    fit = deep(data(beta), beta=beta, normalize=normalize, sweeps=8)
    for f in hs(fit) if normalize == "h" else ws(fit):
        np.testing.assert_allclose(f.sum(1 if normalize == "h" else 0), 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("side", ["coefficients", "components"])
def test_the_objective_is_that_of_the_returned_factors(side, beta):
    x = data(beta)
    for sweeps in (0, 6):
        fit = deep(x, beta=beta, sweeps=sweeps, model={"side": side})
        oracle = (oracle_of if side == "coefficients" else turned)(fit, x, beta)
        assert fit.objective == pytest.approx(oracle.objective(), rel=1e-10)


@pytest.mark.parametrize("side", ["coefficients", "components"])
def test_losses_of_layers_are_those_of_the_returned_factors(side):
    fit = deep(COUNTS, beta=1, sweeps=6, model={"side": side})
    oracle = (oracle_of if side == "coefficients" else turned)(fit, COUNTS, 1)
    told = losses(fit)
    np.testing.assert_allclose(told.end, oracle.losses(), rtol=1e-10)
    np.testing.assert_allclose(np.multiply(told.weights, told.start), 1, rtol=1e-12)  # balanced, unless said otherwise


def test_weights_multiply_the_balanced_ones_or_are_raw():
    balanced = losses(deep(COUNTS, sweeps=0))
    doubled = losses(deep(COUNTS, sweeps=0, model={"weights": "2+1+0.5"}))
    np.testing.assert_allclose(doubled.weights, np.multiply(balanced.weights, (2, 1, 0.5)), rtol=1e-12)
    raw = losses(deep(COUNTS, sweeps=0, model={"weights": "4+2+1", "raw": True}))
    assert raw.weights == (4.0, 2.0, 1.0)


def test_levels_multiply_out():
    for side in ("coefficients", "components"):
        fit = deep(COUNTS, sweeps=5, model={"side": side})
        w, h = ws(fit), hs(fit)
        for number, level in enumerate(fit.levels):
            if side == "coefficients":
                rows, components = w[number], h[number]
                for factor in reversed(h[:number]):
                    components = components @ factor
            else:
                rows, components = w[0], h[number]
                for factor in w[1 : number + 1]:
                    rows = rows @ factor
            np.testing.assert_allclose(level.coefficients, rows, rtol=1e-12)
            np.testing.assert_allclose(level.components, components, rtol=1e-12)


def test_the_multilayer_start_is_as_good_as_the_oracles():
    """Both start at random, so that only their losses are alike: no worse than the worst of ours by a fifth."""
    oracles = []
    for seed in range(3):
        w, h = multilayer(X, RANKS, 1, 200, seed)
        oracles.append([divergence(a, b @ c, 1) for a, b, c in zip([X, *w[:-1]], w, h, strict=True)])
    ours = losses(deep(X, RANKS, sweeps=0, init_sweeps=200)).start
    for layer, loss in enumerate(ours):
        assert loss <= 1.2 * max(o[layer] for o in oracles)


@pytest.mark.parametrize("side", ["coefficients", "components"])
def test_volumes_count_with_the_true_logarithm(side):
    """Σ over layers of weight · ln det(FᵀF + δI), F being W_ℓ on one side, H_ℓᵀ on the other."""
    option, normalize = ("reg_w", "w") if side == "coefficients" else ("reg_h", "h")
    parts = {option: ["minvol:0.3,delta=0.05,weight=absolute"]}
    fit = deep(COUNTS, sweeps=4, normalize=normalize, model={"side": side}, **parts)
    oracle = (oracle_of if side == "coefficients" else turned)(fit, COUNTS, 1, normalize)
    volumes = 0.3 * sum(volume(w, 0.05) for w in oracle.w)
    assert fit.objective == pytest.approx(oracle.objective() + volumes, rel=1e-9)
