"""Adam moves each weight as its formulas say, projects some, and leaves what it is given as it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmfkit_plugins.mdsr import adam

from nmfkit.testing import to_device, to_host

SHAPES = {"u": (5, 6), "v2": (3, 2), "h": (2, 5)}


def weights_of(rng, dtype=np.float64):
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in SHAPES.items()}


def gradient_of(rng, scale=1.0):
    return {name: scale * rng.normal(size=shape) for name, shape in SHAPES.items()}


def written_out(theta, gradients, rate, tiny, floor):
    """One weight after steps down its gradients, a number at a time: (θ, m, v) after each."""
    m = v = 0.0
    found = []
    for t, g in enumerate(gradients, 1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        alpha = rate * math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        theta = theta - alpha * m / (math.sqrt(v) + tiny)
        theta = max(theta, 0.0) if floor else theta
        found.append((theta, m, v))
    return found


def copied(state):
    return {name: copied(part) if isinstance(part, dict) else np.copy(part) for name, part in state.items()}


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, part in wanted.items():
        if isinstance(part, dict):
            assert_same(found[name], part)
        else:
            np.testing.assert_array_equal(found[name], part)


@given(
    st.integers(0, 2**32),
    st.integers(1, 6),
    st.sampled_from([1e-4, 1e-3, 0.5]),
    st.sampled_from([1e-12, 1e-7, 1e-2, 10.0]),
    st.sampled_from([1e-6, 1.0, 1e3]),
    st.sets(st.sampled_from(sorted(SHAPES))),
)
def test_every_weight_moves_as_written_out(seed, steps, rate, tiny, scale, nonnegative):
    rng = np.random.default_rng(seed)
    first = net = weights_of(rng)
    gradients = [gradient_of(rng, scale) for _ in range(steps)]
    state, course = adam.at_rest(net), []
    for gradient in gradients:
        net, state = adam.stepped(net, gradient, state, rate, tiny, nonnegative=nonnegative)
        course.append((net, state["mean"], state["square"]))
    assert state["count"] == steps
    for name, shape in SHAPES.items():
        for at in np.ndindex(shape):
            wanted = written_out(first[name][at], [g[name][at] for g in gradients], rate, tiny, name in nonnegative)
            found = [tuple(part[name][at] for part in parts) for parts in course]
            np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-14 * (scale**2 + 1))


def test_what_is_projected_is_never_below_zero_and_its_moments_are_as_without():
    rng = np.random.default_rng(0)
    net = free = {name: np.abs(weights) for name, weights in weights_of(rng).items()}
    state = without = adam.at_rest(net)
    below = False
    for _ in range(30):
        gradient = gradient_of(rng)
        net, state = adam.stepped(net, gradient, state, 0.2, 1e-7, nonnegative=("h",))
        free, without = adam.stepped(free, gradient, without, 0.2, 1e-7, nonnegative=())
        assert net["h"].min() >= 0
        below = below or (net["h"] == 0).any()
        assert_same(state, without)
        np.testing.assert_array_equal(net["u"], free["u"])
    assert below
    assert free["h"].min() < 0


def test_an_entry_at_zero_comes_back():
    net, state = {"h": np.zeros((1, 2))}, adam.at_rest({"h": np.zeros((1, 2))})
    net, _ = adam.stepped(net, {"h": np.array([[-1.0, 1.0]])}, state, 1e-3, 1e-7, nonnegative=("h",))
    assert net["h"][0, 0] > 0
    assert net["h"][0, 1] == 0


@pytest.mark.parametrize("chunk", [1, 6, 7, 20])
def test_chunks_change_nothing(monkeypatch, chunk):
    rng = np.random.default_rng(0)
    net, gradient = weights_of(rng), gradient_of(rng)
    _, state = adam.stepped(net, gradient, adam.at_rest(net), 1e-3, 1e-7, nonnegative=("h",))
    whole = adam.stepped(net, gradient, state, 1e-3, 1e-7, nonnegative=("h",))
    monkeypatch.setattr(adam, "CHUNK", chunk)
    pieces = adam.stepped(net, gradient, state, 1e-3, 1e-7, nonnegative=("h",))
    for found, wanted in zip(pieces, whole, strict=True):
        assert_same(found, wanted)


@pytest.mark.parametrize("chunk", [7, 2**15])
def test_what_is_given_stays_as_it_is(monkeypatch, chunk):
    monkeypatch.setattr(adam, "CHUNK", chunk)
    rng = np.random.default_rng(0)
    net, gradient = weights_of(rng), gradient_of(rng)
    _, state = adam.stepped(net, gradient, adam.at_rest(net), 1e-3, 1e-7, nonnegative=("h",))
    given = {"net": net, "gradient": gradient, "state": state}
    before = copied(given)
    adam.stepped(net, gradient, state, 1e-3, 1e-7, nonnegative=("h",), per=2.0)
    assert_same(given, before)


def test_sums_in_float64_move_weights_in_float32():
    rng = np.random.default_rng(0)
    net = weights_of(rng, np.float32)
    sums = {**gradient_of(rng, 1e3), "squares": 3.0, "rows": 4.0}
    moved, state = adam.stepped(net, sums, adam.at_rest(net), np.float64(1e-3), 1e-7, nonnegative=("h",), per=1e3)
    arrays = [*moved.values(), *state["mean"].values(), *state["square"].values()]
    assert {a.dtype for a in arrays} == {np.dtype(np.float32)}
    assert moved.keys() == state["mean"].keys() == state["square"].keys() == net.keys()


def test_per_divides_the_gradient():
    rng = np.random.default_rng(0)
    net, gradient = weights_of(rng), gradient_of(rng)
    found = adam.stepped(net, gradient, adam.at_rest(net), 1e-3, 1e-2, nonnegative=(), per=8.0)
    divided = {name: part / 8 for name, part in gradient.items()}
    wanted = adam.stepped(net, divided, adam.at_rest(net), 1e-3, 1e-2, nonnegative=())
    for part, whole in zip(found, wanted, strict=True):
        assert_same(part, whole)


def test_no_gradient_moves_nothing():
    net = weights_of(np.random.default_rng(0))
    still = {name: np.zeros_like(weights) for name, weights in net.items()}
    moved, state = adam.stepped(net, still, adam.at_rest(net), 1e-3, 1e-7, nonnegative=())
    assert_same(moved, net)
    assert state["count"] == 1


def test_it_runs_on_a_device(monkeypatch):
    monkeypatch.setattr(adam, "CHUNK", 7)
    rng = np.random.default_rng(0)
    net, gradient = weights_of(rng), gradient_of(rng)
    there = to_device(net)
    found = adam.stepped(there, to_device(gradient), adam.at_rest(there), 1e-3, 1e-7, nonnegative=("h",))
    wanted = adam.stepped(net, gradient, adam.at_rest(net), 1e-3, 1e-7, nonnegative=("h",))
    for part, whole in zip(to_host(found), wanted, strict=True):
        assert_same(part, whole)


def test_paces_are_factors_of_the_rate():
    net, gradient = {"u": np.ones((2, 2)), "h": np.ones((1, 2))}, {"u": np.ones((2, 2)), "h": np.ones((1, 2))}
    whole, _ = adam.stepped(net, gradient, adam.at_rest(net), 1e-2, 1e-7, nonnegative=())
    paced, _ = adam.stepped(net, gradient, adam.at_rest(net), 1e-2, 1e-7, nonnegative=(), paces={"u": 0.25})
    np.testing.assert_allclose(paced["u"] - 1, 0.25 * (whole["u"] - 1), rtol=1e-9)
    np.testing.assert_array_equal(paced["h"], whole["h"])


@given(st.floats(1e-3, 1e3))
def test_a_unit_measures_weights_and_gradients(unit):
    net, gradient = {"u": np.array([[0.3, -2.0]])}, {"u": np.array([[0.7, -0.1]])}
    plain, _ = adam.stepped(net, gradient, adam.at_rest(net), 1e-2, 1e-7, nonnegative=())
    larger = {"u": unit * net["u"]}
    found, _ = adam.stepped(
        larger, {"u": gradient["u"] / unit}, adam.at_rest(net), 1e-2, 1e-7, nonnegative=(), units={"u": unit}
    )
    np.testing.assert_allclose(found["u"], unit * plain["u"], rtol=1e-12)
