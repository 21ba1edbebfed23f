"""A result of a model with levels whose factors are given, and matrices made of known levels."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np

from nmfkit.loop import Record, State
from nmfkit.origin import IN_MEMORY
from nmfkit.problem import Problem
from nmfkit.protocols import LayerLosses, Level
from nmfkit.result import Result

TOPICS = np.array([[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]]) / 2
"""Three topics, each of two of six parts."""


class Layered:
    """What shows a fit needs of its model: levels by either side, and losses of layers as they are given."""

    takes = frozenset({"loss"})
    row_factors = ("w1",)

    def __init__(self, side, shared, losses=None):
        self.side, self.shared, self.count = side, shared, sum(name.startswith("h") for name in shared)
        self.losses = losses or LayerLosses((2.0,) * self.count, (1.0,) * self.count, (0.5,) * self.count)

    def levels(self, shared):
        numbers = range(1, self.count + 1)
        if self.side == "coefficients":
            return tuple(Level(f"w{i}", (), tuple(f"h{j}" for j in range(i, 0, -1))) for i in numbers)
        return tuple(Level("w1", tuple(f"w{j}" for j in range(2, i + 1)), (f"h{i}",)) for i in numbers)

    def layer_losses(self, following):
        return self.losses

    def factors(self, current):
        return self.shared


def layered(side, rows, shared, features=None, losses=None):
    """A result of such a model with row factors `rows` and shared factors `shared`, by name."""
    m, n = len(rows["w1"]), shared["h1"].shape[1]
    read = []

    def read_rows(lo, hi):
        read.append((lo, hi))
        return {name: f[lo:hi] for name, f in rows.items()}

    state = State(SimpleNamespace(read=read_rows), {}, {}, (Record(0, 1.0, 0.0),), "converged")
    problem = Problem(model="layered", ranks=tuple(f.shape[1] for f in rows.values()))
    attributes = {"source": {"uri": IN_MEMORY, "dtype": "float64", "sparse": False}, "versions": {}, "read": read}
    result = Result(problem, state, (m, n), attributes, feature_names=features)
    result.__dict__["model"] = Layered(side, shared, losses)
    return result


def random_levels(rng, side, m=9, n=7, ranks=(4, 3, 2), features=None):
    """A result of random factors, some of whose entries are zero."""

    def some(*shape):
        return rng.random(shape) * (rng.random(shape) < 0.7)

    pairs = list(pairwise(ranks))
    if side == "coefficients":
        rows = {f"w{i}": some(m, r) for i, r in enumerate(ranks, 1)}
        shared = {"h1": some(ranks[0], n)} | {f"h{i}": some(b, a) for i, (a, b) in enumerate(pairs, 2)}
    else:
        rows = {"w1": some(m, ranks[0])}
        shared = {f"w{i}": some(a, b) for i, (a, b) in enumerate(pairs, 2)}
        shared |= {f"h{i}": some(r, n) for i, r in enumerate(ranks, 1)}
    return layered(side, rows, shared, features)


def planted(seed=0, m=150, n=48):
    """A matrix of two levels: parts with features of their own, and topics of two parts each."""
    rng = np.random.default_rng(seed)
    parts = np.kron(np.eye(6), np.ones(n // 6)) * rng.uniform(0.5, 1.5, n)
    parts /= parts.sum(axis=1, keepdims=True)
    topics = rng.dirichlet(np.full(3, 0.3), m)
    own = rng.uniform(0.6, 1.4, (m, 6))
    return 1000 * ((topics @ TOPICS) * own) @ parts + 0.05 * rng.random((m, n)), parts
