"""Encoders of random weights, and their loss written out as the formulas have it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from nmfkit.blocks import Dense
from nmfkit.preprocessing import Shifted
from nmfkit.testing.strategies import sparse

SIZES = (9, 7, 4)


def net_of(columns, sizes=SIZES, *, signed=False, seed=0, dtype=np.float64):
    """Weights of an encoder, and H of a size at which Ŷ is that of the data."""
    rng = np.random.default_rng(seed)
    net = {"u": rng.normal(size=(columns, sum(sizes))) * 0.4, "h": rng.random((sizes[-1], columns))}
    for i, (above, size) in enumerate(pairwise(sizes), 2):
        net[f"v{i}"] = rng.normal(size=(above, size))
    if signed:
        net["h"] = net["h"] - 0.5
    return {name: weights.astype(dtype) for name, weights in net.items()}


def data_of(rows, columns, seed=0, dtype=np.float64):
    """Nonnegative data, half of it zero."""
    rng = np.random.default_rng(seed + 100)
    return (rng.random((rows, columns)) * (rng.random((rows, columns)) < 0.5)).astype(dtype)


def blocks_of(y):
    """The same rows as a dense block, a sparse one, and a sparse one plus a constant row."""
    row = np.linspace(0, 0.5, y.shape[1]).astype(y.dtype)
    return {"dense": Dense(y), "sparse": sparse(y), "shifted": Shifted(sparse(y - row), row)}


def loss_of(y, net, sizes, output):
    """‖Ŷ − Y‖²."""
    w = layers_of(y, net, sizes)[-1]
    product = w @ net["h"]
    return np.sum(((np.maximum(product, 0) if output == "relu" else product) - y) ** 2)


def layers_of(y, net, sizes):
    """H_1 … H_L, a layer after the other, each from the data and its own columns of U."""
    ends = np.cumsum(sizes)
    layers = []
    for i, (size, end) in enumerate(zip(sizes, ends, strict=True), 1):
        z = y @ net["u"][:, end - size : end]
        z = z + layers[-1] @ net[f"v{i}"] if layers else z
        layers.append(1 / (1 + np.exp(-z)))
    return layers
