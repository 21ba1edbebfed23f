"""The unrolled network for symmetric NMF: its gradient, its stability, and its symmetries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nmfkit_plugins.symnmf import net_adam
from nmfkit_plugins.symnmf.net import SymNMFNet
from nmfkit_plugins.symnmf.net_blocks import Layer, inverse, linear, output
from nmfkit_plugins.symnmf.net_variants import LEAST, VARIANTS, bounded, unbounded

from nmfkit.blocks import Dense
from nmfkit.protocols import Ingredients
from nmfkit.testing.model import after_passes

R, N = 3, 12


def network(**options):
    return SymNMFNet(Ingredients(None, None, (), (), (R,)), **options)


def state(a, v0, net, scale):
    """The shared state before the first sweep, of A in units of `scale`."""
    gram, size = v0.T @ v0, a / scale
    return {
        "f": v0, "v0": v0, "gram": gram, "v0.gram": gram, "cross": float(np.sum(v0 * (size @ v0))),
        "squares": float(np.sum(size**2)), "scale": scale, "empty": None, "sweep": 0, "net": net, "best": net,
        "best.loss": math.inf, "adam": net_adam.at_rest(net), "pace": 1.0,
    }  # fmt: skip


def swept(model, a, shared):
    """The state at the end of a sweep, as it is before it is concluded."""
    x = Dense(a, 0, len(a))
    rows, there = after_passes(model, x, {"w": shared["f"]}, shared)
    new, stats = model.local(x, rows, there)
    return new, there, stats


def written_out(variant, net, a, v, deep):
    """The loss by the formulas of the network, block by block and densely."""
    losses, squares, n, r = [], np.sum(a**2), *v.shape
    for own in net:
        if variant == "dense":
            lam, p = LEAST + np.logaddexp(0, own[0]), own[1:].reshape(n, n)
        else:
            lam, p = LEAST + np.logaddexp(0, own[2]), own[0] * a + own[1] * np.eye(n)
        z = p @ v @ np.linalg.inv(v.T @ v + lam * np.eye(r))
        if variant == "equivariant":
            z = z @ (np.eye(r) + own[3] * np.ones((r, r)) / r)
        if variant == "mixing":
            z = z @ own[3 : 3 + r * r].reshape(r, r) - own[3 + r * r :]
        v = np.maximum(z, 0)
        losses.append(0.25 * np.sum((a - v @ v.T) ** 2) / squares)
    before = sum(deep ** (len(losses) - 1 - k) * loss for k, loss in enumerate(losses[:-1])) if deep else 0.0
    return losses[-1] + before


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize(
    ("variant", "deep"), [("equivariant", 0.0), ("equivariant", 0.6), ("mixing", 0.0), ("mixing", 0.6), ("dense", 0.0)]
)
def test_the_gradient_is_that_of_finite_differences(variant, deep, blocks):
    rng, scale = np.random.default_rng(3), 2.7
    b, e = rng.random((N, R)), rng.standard_normal((N, N))
    a, v0 = b @ b.T + 0.15 * (e + e.T), rng.random((N, R))
    model = network(variant=variant, blocks=blocks, deep=deep)
    net = model.family.begin(blocks, R, 0.5, a / scale)
    net = net + 0.05 * rng.standard_normal(net.shape)
    _, there, stats = swept(model, a, state(a, v0, net, scale))
    found = model.family.gradient(net, model._absorbed(there, stats)["pulls"])
    expected, step = np.zeros_like(net), 1e-6
    for at in np.ndindex(net.shape):
        near = np.zeros_like(net)
        near[at] = step
        ends = [written_out(variant, net + sign * near, a / scale, v0, deep) for sign in (1, -1)]
        expected[at] = (ends[0] - ends[1]) / (2 * step)
    columns = np.max(np.abs(expected), axis=0)
    assert (columns > 0).any()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7 * float(columns.max()))


@given(
    st.integers(1, 5),
    st.floats(0.01, 10),
    st.floats(1e-3, 1e3),
    st.integers(0, 2**32 - 1),
)
def test_the_inversion_layer_is_bounded(r, lam, size, seed):
    v = size * np.random.default_rng(seed).standard_normal((9, r))
    q = v @ inverse(v.T @ v, lam)
    assert np.linalg.norm(q, 2) <= (1 + 1e-9) / (2 * math.sqrt(lam))


def test_the_jacobian_at_a_fixed_point_has_the_known_spectrum():
    rng, lam = np.random.default_rng(5), 0.4
    u, _ = np.linalg.qr(rng.standard_normal((7, 7)))
    s = np.array([2.0, 1.1, 0.6, 0.35, 0.1, -0.05, -0.2])
    a, r = (u * s) @ u.T, 3
    v = u[:, :r] * np.sqrt(s[:r])  # V Vᵀ is the leading part of A, so that a block without ReLU keeps V
    layer = Layer(lam, 1.0, lam)

    def block(v):
        q = v @ inverse(v.T @ v, lam)
        return linear(a @ q, q, layer)

    np.testing.assert_allclose(block(v), v, atol=1e-12)
    step, jacobian = 1e-6, np.zeros((v.size, v.size))
    for at in range(v.size):
        near = np.zeros(v.size)
        near[at] = step
        near = near.reshape(v.shape)
        jacobian[:, at] = ((block(v + near) - block(v - near)) / (2 * step)).ravel()
    expected = [(lam - si) / (lam + si) for si in s[:r]]
    for i in range(r):
        for j in range(i + 1, r):
            expected += [1.0, (lam**2 - s[i] * s[j]) / ((s[i] + lam) * (s[j] + lam))]
    expected += [(x + lam) / (sj + lam) for x in s[r:] for sj in s[:r]]
    found = np.sort(np.linalg.eigvals(jacobian).real)
    np.testing.assert_allclose(found, np.sort(expected), atol=1e-6)


@given(st.floats(LEAST + 1e-3, 50))
def test_lambda_is_what_its_parameter_says_and_stays_above_the_least(lam):
    assert bounded(unbounded(lam)) == pytest.approx(lam, rel=1e-9)
    assert bounded(-50.0) >= LEAST


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_untrained_block_is_a_plain_iteration(variant):
    rng = np.random.default_rng(1)
    b, v = rng.random((N, R)), rng.random((N, R))
    a, lam = b @ b.T, 0.7
    family = VARIANTS[variant]
    layer = family.layer(family.begin(2, R, lam, a)[1], v)
    q = v @ inverse(v.T @ v, layer.lam)
    made = layer.weights @ q if layer.weights is not None else a @ q
    plain = np.maximum((a + lam * np.eye(N)) @ v @ np.linalg.inv(v.T @ v + lam * np.eye(R)), 0)
    np.testing.assert_allclose(output(linear(made, q, layer), layer), plain, rtol=1e-9, atol=1e-12)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.5]))
def test_what_is_done_to_nodes_and_columns_is_done_to_the_network(seed, deep):
    rng = np.random.default_rng(seed)
    b, e = rng.random((N, R)), 0.1 * rng.standard_normal((N, N))
    a, v0, model = b @ b.T + e + e.T, rng.random((N, R)), network(blocks=3, deep=deep)
    nodes, columns = rng.permutation(N), rng.permutation(R)
    net = model.family.begin(3, R, 0.5, None)
    one = two = None
    one, two = state(a, v0, net, 1.0), state(a[nodes][:, nodes], v0[nodes][:, columns], net, 1.0)
    for _ in range(3):
        one, two = (
            model.apply(there, stats)
            for _, there, stats in (swept(model, a, one), swept(model, a[nodes][:, nodes], two))
        )
    np.testing.assert_allclose(two["net"], one["net"], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(two["f"], one["f"][nodes][:, columns], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_network_that_has_died_is_the_best_one_again(variant):
    rng = np.random.default_rng(2)
    b, v0 = rng.random((N, R)), rng.random((N, R))
    a, model = b @ b.T, network(variant=variant, blocks=2)
    net = model.family.begin(2, R, 0.5, a)
    dead = net.copy()
    dead[:, slice(1, None) if variant == "dense" else slice(2)] *= -1  # −W, or −a and −b
    begun = {**state(a, v0, net, 1.0), "net": dead}
    new, there, stats = swept(model, a, begun)
    following = model.apply(there, stats)
    assert (following["net"] == net).all()
    assert following["pace"] == 0.5
    assert (following["f"] == v0).all(), "nothing takes the place of a factor"
    assert (new["w"] == v0).all()
    again = model.apply(*swept(model, a, following)[1:])
    assert again["best.loss"] < 0.25
    assert (again["f"] > 0).any()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"variant": "free"}, "variant must be one of equivariant, mixing, dense"),
        ({"blocks": 0}, "blocks must be at least 1"),
        ({"steps": -1}, "steps must be at least 0"),
        ({"rate": 1.5}, "rate must be between 0 and 1"),
        ({"lam": 0.01}, "lam must be above 0.01"),
        ({"deep": -0.5}, "deep must be between 0 and 1"),
        ({"variant": "dense", "deep": 0.5}, "deep must be 0 where variant is dense"),
        ({"variant": "mixing", "trained": "run.zarr"}, "trained needs variant equivariant"),
    ],
)
def test_options_are_checked(options, what):
    with pytest.raises(ValueError, match=what):
        network(**options)
