"""Extrapolation: Nesterov's weights, and what follows when a sweep ends above the one before."""

import math

import numpy as np
import pytest
from nmfkit_plugins.beta.multiplicative import Multiplicative

import nmfkit
from nmfkit.loop import Watcher
from nmfkit.pace import CALM, LEAST, Pace, rose

RNG = np.random.default_rng(5)
X = RNG.poisson(RNG.gamma(0.5, 2.0, (300, 4)) @ RNG.gamma(0.5, 2.0, (4, 50))).astype(float)


def test_weights_are_nesterovs():
    pace, t = Pace(), 1.0
    for _ in range(50):
        following = (1 + math.sqrt(1 + 4 * t * t)) / 2
        assert pace.weight == (t - 1) / following
        pace, t = pace.onward(), following
    assert not pace.restart
    assert Pace().weight == 0


def test_a_refusal_begins_anew_with_less_and_safely_for_longer_each_time():
    pace = Pace()
    for _ in range(20):
        pace = pace.onward()
    reached, calm = pace.weight, []
    for _ in range(10):
        pace = pace.back()
        assert pace.weight == 0
        assert pace.restart
        assert LEAST <= pace.cap <= reached
        calm.append(pace.calm)
    assert calm == [min(CALM, 2**i) for i in range(10)]
    assert pace.refusals == 10
    for i in range(CALM):
        assert pace.safe, i
        pace = pace.onward()
    assert not pace.safe
    assert Pace.of({"pace": pace.as_dict()}) == pace


def test_rounding_is_no_rise_and_nan_is_one():
    assert not rose(1.0 + 1e-15, 1.0, 0.0, 2.2e-16)
    assert not rose(1.0 + 1e-14, 1.0, 1e3, 2.2e-16)
    assert rose(1.0 + 1e-9, 1.0, 1e3, 2.2e-16)
    assert rose(math.nan, 1.0, 1e9, 1.0)
    assert rose(math.inf, 1.0, 0.0, 2.2e-16)


class Reckless(Multiplicative):
    """Goes so far ahead that objectives rise."""

    def ahead(self, f, past, weight):
        return f + 30 * weight * np.maximum(f - past, 0)


class Kept(Watcher):
    def __init__(self):
        self.states = []

    def sweep(self, state):
        self.states.append((state.objective, state.rows.read(0, len(X))["w"].copy(), state.current["h"].copy()))


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("loss", ["kl", "is", "frobenius", "beta:3"])
def test_a_sweep_that_ends_higher_is_undone(loss, joint):
    kept = Kept()
    x = X + 1
    result = nmfkit.fit(x, rank=4, loss=loss, rule=Reckless(joint=joint), max_sweeps=60, tol=0, watcher=kept)
    pace = Pace.of(result.state.following)
    assert pace.refusals > 2, "the rule was not reckless enough for this test"
    objectives = result.history.objective
    assert (np.diff(objectives) <= 1e-9 * objectives[:-1]).all()
    value = result.model.parts.loss.value
    from nmfkit.blocks import Dense
    from nmfkit.lowrank import LowRank

    for objective, w, h in kept.states:
        assert objective == pytest.approx(value(Dense(x), LowRank(w, h)), rel=1e-9)
    plain = nmfkit.fit(x, rank=4, loss=loss, rule="mu:extrapolate=no", max_sweeps=200, tol=0)
    long = nmfkit.fit(x, rank=4, loss=loss, rule=Reckless(joint=joint), max_sweeps=600, tol=0)
    assert long.objective <= 1.02 * plain.objective, "it still gets there"


def test_extrapolation_needs_fewer_sweeps():
    for loss, rule in (("kl", "mu"), ("is", "mu"), ("frobenius", "hals:settle=0")):
        x = X + 1
        plain = nmfkit.fit(
            x, rank=4, loss=loss, rule=f"{rule}{',' if ':' in rule else ':'}extrapolate=no", max_sweeps=150, tol=0
        )
        ahead = nmfkit.fit(x, rank=4, loss=loss, rule=rule, max_sweeps=150, tol=0).history
        needed = int(np.argmax(ahead.objective <= plain.objective * (1 + 1e-6)))
        assert 0 < needed < 110, (loss, needed)


def test_the_points_ahead_are_no_result(tmp_path):
    result = nmfkit.fit(X, rank=3, loss="kl", max_sweeps=5, out=tmp_path / "run.zarr")
    assert set(result.factors) == set(nmfkit.load(tmp_path / "run.zarr").factors) == {"w", "h"}
    import zarr

    assert {name for name, _ in zarr.open_group(tmp_path / "run.zarr").arrays()} == {"w", "h"}
