"""Whole trainings of the two input-guided models, against one written out, and where numbers are at their limits."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp

import nmfkit
from nmfkit.executors.draws import Batches
from nmfkit.loop import Watcher
from nmfkit.protocols import Draw
from nmfkit.testing import Chunked

NMF, RNMF = "ig-mdsr-nmf", "ig-mdsr-rnmf"
RNG = np.random.default_rng(9)
X = RNG.gamma(1.0, size=(83, 3)) @ RNG.gamma(1.0, size=(3, 7))
SIZES, EPOCHS, SEED = (6, 4, 3), 20, 5


def fitted(name, x, rank, sweeps, **options):
    machine = {key: options.pop(key) for key in ("threads", "watcher") if key in options}
    machine = {"threads": 1, **machine}
    return nmfkit.fit(x, model=name, rank=rank, model_options=options, max_sweeps=sweeps, tol=0, seed=SEED, **machine)


class Planned(Watcher):
    """Keeps the plan of a fit."""

    def plan(self, plan, cautions):
        self.plan = plan


# --- a training written out ---------------------------------------------------------------------------------


def sigma(z):
    return 1 / (1 + np.exp(-z))


def layers_of(y, u, v):
    """H_1, H_2, H_3, one row and one layer at a time."""
    rows = []
    for row in y:
        first = sigma(row @ u[0])
        second = sigma(row @ u[1] + first @ v[0])
        rows.append((first, second, sigma(row @ u[2] + second @ v[1])))
    return [np.array(layer) for layer in zip(*rows, strict=True)]


def slopes_of(y, u, v, h, cut):
    """The gradient of the mean square of Ŷ − Y over the entries of `y`, by u, v and h."""
    layers = layers_of(y, u, v)
    product = layers[2] @ h
    ahead = 2 * ((np.maximum(product, 0) if cut else product) - y) / y.size
    ahead = np.where(product > 0, ahead, 0) if cut else ahead
    bar = ahead @ h.T * layers[2] * (1 - layers[2])
    by_h, by_u, by_v = layers[2].T @ ahead, [None] * 3, [None] * 2
    for i in (2, 1):
        by_u[i], by_v[i - 1] = y.T @ bar, layers[i - 1].T @ bar
        bar = bar @ v[i - 1].T * layers[i - 1] * (1 - layers[i - 1])
    by_u[0] = y.T @ bar
    return [*by_u, *by_v, by_h]


def trained(y, weights, batches, rate, tiny, cut, floored):
    """Losses after each epoch, and the weights [U_1, U_2, U_3, V_2, V_3, H] at the end."""
    weights = [a.copy() for a in weights]
    means, squares, count, losses = [0 * a for a in weights], [0 * a for a in weights], 0, []
    for epoch in range(EPOCHS):
        for rows in batches(epoch + 1):  # the start is epoch 0
            count += 1
            slopes = slopes_of(y[rows], weights[:3], weights[3:5], weights[5], cut)
            alpha = rate * np.sqrt(1 - 0.999**count) / (1 - 0.9**count)
            for i, g in enumerate(slopes):
                means[i] = 0.9 * means[i] + 0.1 * g
                squares[i] = 0.999 * squares[i] + 0.001 * g * g
                weights[i] = weights[i] - alpha * means[i] / (np.sqrt(squares[i]) + tiny)
            if floored:
                weights[5] = np.maximum(weights[5], 0)
        product = layers_of(y, weights[:3], weights[3:5])[2] @ weights[5]
        losses.append(0.5 * np.sum(((np.maximum(product, 0) if cut else product) - y) ** 2))
    return losses, weights


def shuffled(size):
    """The rows of each batch of an epoch."""
    batches = Batches(((0, len(X)),), 0)
    count = -(-len(X) // size)
    return lambda epoch: [batches.of(Draw(size, k, (SEED, epoch)))[0].rows for k in range(count)]


@pytest.mark.parametrize("name", [NMF, RNMF])
@pytest.mark.parametrize("output", ["linear", "relu"])
@pytest.mark.parametrize("size", [1, 16])
@pytest.mark.parametrize("unit", [1.0, 2.0])
def test_a_training_is_the_one_written_out(name, output, size, unit):
    options = {"hidden_sizes": "6,4", "output": output, "batch_size": size, "rate": 0.003, "checkpoint": "last"}
    start = fitted(name, X, 3, 0, unit=unit, **options).state.current["net"]
    run = fitted(name, X, 3, EPOCHS, unit=unit, **options)
    us = np.split(start["u"], np.cumsum(SIZES)[:-1], axis=1)
    # In units of the data: Y / unit, U unit, H / unit.
    begun = [*(u * unit for u in us), start["v2"], start["v3"], start["h"] / unit]
    losses, ended = trained(X / unit, begun, shuffled(size), 0.003, 1e-7, output == "relu", name == NMF)
    np.testing.assert_allclose(run.history.objective[1:], np.array(losses) * unit**2, rtol=1e-10)
    np.testing.assert_allclose(run.h, ended[5] * unit, rtol=1e-8, atol=1e-11)
    net = run.state.current["net"]
    np.testing.assert_allclose(net["u"] * unit, np.concatenate(ended[:3], axis=1), rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(net["v3"], ended[4], rtol=1e-8, atol=1e-11)


# --- at the limits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [18, 30, 53, 57, 59])
def test_a_polish_at_the_end_makes_nothing_worse_in_float32(seed):
    """Of two heavy-tailed columns with three components: WᵀW is nearly singular, and H is large."""
    x = (np.random.default_rng(seed).pareto(0.7, size=(40, 2)) * 1000).astype(np.float32)
    losses = fitted(RNMF, x, 3, 5, polish="epoch", batch_size=2).history.objective
    assert (np.diff(losses) <= 1e-6 * losses[:-1] + 1e-9 * float(np.sum(np.square(x, dtype=np.float64)))).all(), losses


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.filterwarnings("ignore:rank 40 exceeds")
def test_more_components_than_columns_follow_no_rounding(seed):
    x = np.random.default_rng(seed).gamma(0.5, size=(130, 3))
    options = {"preset": "authors", "output": "linear", "polish": "epoch", "checkpoint": "last"}
    whole = fitted(RNMF, x, 40, 4, **options)
    other = fitted(RNMF, Chunked(x, [(0, 50), (50, 51), (51, 130)], is_sparse=True), 40, 4, threads=2, **options)
    np.testing.assert_allclose(other.history.objective, whole.history.objective, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "more", [{"batch_size": 64}, {"batch_size": 64, "checkpoint": "accuracy"}, {"polish": "epoch"}]
)
def test_a_wide_network_takes_no_more_memory_than_planned(dtype, more):
    x = sp.random(150, 12_000, density=0.002, format="csr", random_state=1, dtype=dtype)
    planned = Planned()
    tracemalloc.start()
    try:
        fitted(RNMF, x, 8, 2, hidden_sizes="geometric", watcher=planned, **more)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < planned.plan.shared_bytes + 3 * planned.plan.block_bytes + 2**22
