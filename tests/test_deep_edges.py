"""Deep fits at the edges: data that fit exactly, single rows and entries, ranks beyond the sides, the ends of float32.

Also starting factors with nothing in a component, and fits that are interrupted: laws hold there as anywhere.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from deep_fits import deep, factors, hs, losses, ws
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.divergence import entries

import nmfkit
from nmfkit.errors import NmfkitError
from nmfkit.loop import Watcher
from nmfkit.summed import summed_root

RNG = np.random.default_rng(3)
X = RNG.gamma(0.5, 1.0, (12, 3)) @ RNG.gamma(0.5, 1.0, (3, 9)) + 0.02
WIDE = X * np.exp(RNG.normal(0, 5, X.shape))
BETAS = (-1, -0.5, 0, 0.5, 1, 4 / 3, 1.5, 2, 2.5, 3)
KINDS = {
    "plain": X,
    "one row": X[:1],
    "one column": X[:, :1],
    "one entry": X[:1, :1],
    "constant": np.full_like(X, 3.7),
    "rank 1": np.outer(X[:, 0], X[0]),
    "duplicates": X[[0, 1, 0, 1, 1, 2]],
    "very different": WIDE,
}
ZEROS = {
    "zero rows and columns": np.outer(np.arange(8) % 2, np.arange(6) % 3).astype(float),
    "a single positive entry": np.where(np.arange(48).reshape(8, 6) == 13, 5.0, 0.0),
    "identity": np.eye(7),
}
RANKS = [(1,), (3, 2), (2, 1), (1, 1), (2, 4), (20, 15), (5, 4, 3, 2, 1)]
REGULARIZERS = [
    {},
    {},
    {"reg_w": ["l1:0.1", "l2:0.03"], "reg_h": ["l2:0.1"]},
    {"reg_w": ["minvol:0.5,delta=0.1"]},
    {"reg_h": ["minvol:0.5,delta=0.1"]},
]
WEIGHTS = [{}, {}, {"weights": (1, 1e-3), "raw": True}, {"weights": (1, 1e4), "raw": True}, {"weights": (4, 2)}]

pytestmark = pytest.mark.filterwarnings("ignore::nmfkit.errors.Caution")


def by_hand(fit, x, beta):
    """Σ λ_ℓ D_ℓ and the regularizers, from the factors that a fit returns."""
    of_rows, w, h = fit.model.side == "coefficients", ws(fit), hs(fit)
    data = [x, *(w if of_rows else h)[:-1]]
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.longdouble(entries(*(np.asarray(a, np.longdouble) for a in (d, u @ v)), beta)).sum()
                 for d, u, v in zip(data, w, h, strict=True)]  # fmt: skip
    total = sum(weight * float(part) for weight, part in zip(losses(fit).weights, parts, strict=True))
    for letter, acting in (("w", fit.model.parts.reg_w), ("h", fit.model.parts.reg_h)):
        for number, f in enumerate(factors(fit, letter), start=1):
            f = f if letter == "w" else f.T
            multipliers = fit.state.current["factors"][f"{letter}{number}"]
            total += sum(m * part.value(part.stat(f)) for m, part in zip(multipliers, acting, strict=True))
    return total


def assert_sound(fit, x, beta):
    """No rise, no factor out of range, sums of 1, and the objective that the factors have."""
    objectives = np.asarray(fit.history.objective)
    single = fit.factors["w1"].dtype == np.float32
    rounding = (2e-6 if single else 1e-12) * fit.model.scale(fit.state.current)
    assert np.isfinite(objectives).all()
    slack = (1e-5 if single else 1e-9) * np.abs(objectives[:-1]) + rounding
    assert not (np.diff(objectives) > slack).any(), objectives.tolist()
    for f in fit.factors.values():
        assert np.isfinite(f).all()
        assert (np.asarray(f) > 0).all()  # at or above the floor
    held = fit.model.normalize
    for f in factors(fit, held):
        np.testing.assert_allclose(f.sum(1 if held == "h" else 0), 1, rtol=0, atol=2e-6 if single else 1e-12)
    close = (1e-4 if single else 1e-9) * abs(objectives[-1]) + 5 * rounding
    assert by_hand(fit, x, beta) == pytest.approx(objectives[-1], abs=close)


@st.composite
def problems(draw, beta):
    ranks = draw(st.sampled_from(RANKS))
    x = draw(st.sampled_from([*KINDS.values(), *(ZEROS.values() if beta > 0 else ())]))
    weights = draw(st.sampled_from(WEIGHTS))
    if "weights" in weights:
        first, below = weights["weights"]
        weights = {**weights, "weights": "+".join([str(first), *[str(below)] * (len(ranks) - 1)])}
    model = {
        "side": draw(st.sampled_from(["coefficients", "components"])),
        "extrapolate": draw(st.booleans()),
        "joint": draw(st.booleans()),
        **weights,
    }
    options = {
        "normalize": draw(st.sampled_from("hw" if beta <= 2 else "h")),
        "init_sweeps": draw(st.sampled_from([1, 20])),
        "seed": draw(st.integers(0, 5)),
        **draw(st.sampled_from(REGULARIZERS)),
    }
    return x, ranks, model, options


@pytest.mark.parametrize("examples", [8, pytest.param(150, marks=pytest.mark.slow)])
@pytest.mark.parametrize("beta", BETAS, ids="{:.3g}".format)
def test_laws_hold_for_awkward_data(beta, examples):
    @settings(max_examples=examples)
    @given(problems(beta))
    def holds(drawn):
        x, ranks, model, options = drawn
        assert_sound(deep(x, ranks, beta=repr(beta), sweeps=12, model=model, **options), x, beta)

    holds()


# --- layers that fit exactly -------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["coefficients", "components"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("beta", [0.5, 1, 1.5, 2, 2.5])
def test_a_loss_that_rounds_to_less_than_nothing_gives_no_negative_weight(beta, dtype, side):
    """Layers that a single row fits exactly: a penalty measured by a loss below 0 would reward what it should not."""
    x = (1e3 * X[:1]).astype(dtype)
    parts = {"reg_w": ["minvol:0.5,delta=0.01"], "reg_h": ["minvol:0.1,delta=0.01"]}
    for seed in range(3):
        fit = deep(
            x, (4, 2), beta=beta, seed=seed, sweeps=10, model={"side": side, "extrapolate": False}, dtype=dtype, **parts
        )
        assert_sound(fit, x.astype(float), beta)
        eps = float(np.finfo(dtype).eps)
        for weight, scale in zip(losses(fit).weights, fit.state.current["scales"], strict=True):
            assert 0 < weight <= 1 / (16 * eps * scale) * (1 + 1e-12)
        assert all(m >= 0 for found in fit.state.current["factors"].values() for m in found)


def test_the_size_of_what_cancels_is_no_less_than_the_loss():
    """Where ½ W H is nearer to the data than W H, by chance, its loss says nothing of rounding."""
    x, h = np.array([[371.76399092]], np.float32), np.array([[0], [5.45302441e10]])
    model = {"side": "components", "extrapolate": False}
    fit = deep(x, (2, 4), beta=2.5, sweeps=0, init_sweeps=1, seed=4, h=h, dtype="float32", model=model)
    told = losses(fit)
    assert max(told.start) > 1e3
    for loss, scale in zip(told.start, fit.state.current["scales"], strict=True):
        assert scale >= loss


def test_a_sum_beside_entries_that_hardly_count_is_found_at_the_minimum():
    """Columns that no known entry sees have a slope of 0 and next to no pull: the multiplier is near 0, not at it."""
    floor, free = 1e-16 / 11, [1, 6, 9]
    pulls, falls, f = np.full((11, 1), 2.66873132e-07), np.zeros((11, 1)), np.full((11, 1), floor)
    pulls[free, 0] = 1.60076274e-27, 1.60076265e-27, 1.60078533e-27
    f[free, 0] = 2.22654421e-04, 1.40263657e-04, 1.53300359e-04
    pulls[2], falls[2], f[2] = 9.72876040e18, 9.72876926e18, 0
    f[2] = 1 - f.sum()
    t = summed_root({2.5: pulls, 1.0: -falls}, f, 1.0, floor=floor)
    assert float((f * t).sum()) == pytest.approx(1, abs=1e-12)
    assert t[2, 0] - 1 == pytest.approx((falls[2, 0] / pulls[2, 0]) ** (1 / 1.5) - 1, rel=1e-3)
    assert (f * t)[free].sum() == pytest.approx(1 - float((f * t)[2, 0]), rel=1e-9)


# --- the range of float32 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("extrapolate", [False, True], ids=["plain", "ahead"])
@pytest.mark.parametrize("normalize", ["h", "w"])
@pytest.mark.parametrize("beta", [-1, -0.5, 0])
def test_entries_far_apart_lower_the_objective_in_float32(beta, normalize, extrapolate):
    """ŷ^(β−2) of a w at a floor far below 1 is no number of float32, and a step without it is no descent."""
    model = {"extrapolate": extrapolate, "weights": "1+1e-3+1e-3", "raw": True}
    for seed in range(4):
        x = (X * np.exp(np.random.default_rng(seed).normal(0, 3, X.shape))).astype(np.float32)
        fit = deep(x, (4, 3, 2), beta=beta, normalize=normalize, seed=seed, sweeps=15, dtype="float32", model=model)
        assert_sound(fit, x.astype(float), beta)


@pytest.mark.parametrize(("dtype", "beta"), [("float32", -1), ("float64", -1), ("float64", 0), ("float32", 1)])
def test_floors_are_far_below_the_factors_and_their_powers_are_numbers(dtype, beta):
    fit = deep(X.astype(dtype), (4, 2), beta=beta, sweeps=0, init_sweeps=5, dtype=dtype)
    most = float(np.finfo(dtype).max)
    for name, f in fit.factors.items():
        floor = fit.state.current["floors"][name]
        assert floor <= 1.01e-6 * float(np.mean(f))
        assert math.log(floor) * (beta - 2) < math.log(most) or floor >= 0.99e-6 * float(np.mean(f))


@pytest.mark.parametrize("seed", [3, 21, 29])
def test_layers_below_that_leave_the_range_are_an_error_not_a_warning(seed):
    """With side=components they are fitted here, outside of any executor."""
    rng = np.random.default_rng(seed)
    x = (1e4 * (rng.gamma(0.5, 1, (12, 3)) @ rng.gamma(0.5, 1, (3, 9)) + 0.02)).astype(np.float32)
    h = 1e12 * rng.random((2, 9)) * (rng.random((2, 9)) < 0.6)
    with pytest.raises(NmfkitError, match="range of"):
        deep(
            x, (2, 1), beta=-0.5, normalize="w", dtype="float32", h=h, init_sweeps=60, sweeps=2,
            model={"side": "components"},
        )  # fmt: skip


# --- starts, ends, new rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["coefficients", "components"])
@pytest.mark.parametrize("normalize", ["h", "w"])
@pytest.mark.parametrize("beta", [0.5, 1, 2])
def test_starting_factors_with_nothing_in_a_component(beta, normalize, side):
    w, h = RNG.random((12, 3)), RNG.random((3, 9))
    w[:, 0], h[1] = 0, 0
    for scale in (1.0, 1e-12, 1e12):
        fit = deep(X, (3, 2), beta=beta, normalize=normalize, sweeps=10, w=scale * w, h=h, model={"side": side})
        assert_sound(fit, X, beta)


@pytest.mark.parametrize(
    ("beta", "side", "normalize"),
    [
        (beta, side, normalize) if beta == 1 else pytest.param(beta, side, normalize, marks=pytest.mark.slow)
        for beta in (1, 0.5, 2) for side in ("coefficients", "components") for normalize in ("h", "w")
    ],
)  # fmt: skip
@pytest.mark.parametrize("joint", [False, True])
def test_an_interrupted_fit_goes_on_bit_for_bit(tmp_path, joint, beta, side, normalize):
    options = {
        "beta": beta, "normalize": normalize, "init_sweeps": 5, "model": {"side": side, "joint": joint},
        "reg_w": ["minvol:0.3,delta=0.01"], "reg_h": ["l2:0.05"],
    }  # fmt: skip
    straight = deep(X, (4, 2), sweeps=9, **options)
    deep(X, (4, 2), sweeps=4, out=tmp_path / "run", **options)
    resumed = nmfkit.resume(tmp_path / "run", x=X, max_sweeps=9)
    assert list(resumed.history.objective) == list(straight.history.objective)
    for name, f in straight.factors.items():
        assert np.array_equal(f, resumed.factors[name])


@pytest.mark.parametrize("side", ["coefficients", "components"])
@pytest.mark.parametrize("beta", [0.5, 1, 1.5, 2])
def test_new_rows_stand_for_themselves_and_empty_ones_have_nothing(beta, side):
    fit = deep(X, (4, 2), beta=beta, sweeps=20, model={"side": side}, reg_w=["minvol:0.1,delta=0.01"])
    new = np.vstack([X[:3], RNG.random((2, 9)), np.zeros((1, 9))])
    together, alone = fit.transform(new), fit.transform(new[3:4])
    for name, f in together.items():
        np.testing.assert_allclose(alone[name][0], f[3], rtol=1e-6, atol=1e-9 * f.max())
        assert f[5].max() <= 1e-6 * f.max()
        assert (f >= 0).all()


class StopsIn(Watcher):
    """Ctrl-C at a block of a stage."""

    def __init__(self, stage, block):
        self.wanted, self.left, self.now = stage, block, ""

    def stage(self, name):
        self.now = name

    def block(self, size):
        del size
        self.left -= self.now == self.wanted
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("block", [0, 9, 20])
def test_an_interrupted_start_leaves_nothing_behind(tmp_path, block):
    with pytest.raises(KeyboardInterrupt):
        deep(np.tile(X, (40, 3)), (4, 2), init_sweeps=30, out=tmp_path / "run", watcher=StopsIn("start", block))
    assert not list(tmp_path.iterdir())
