"""Data to standardize, and what the tests of it compare with."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from nmfkit.blocks import Dense
from nmfkit.executors.shard import combine
from nmfkit.preprocessing import Moments, Preprocessing, Standard, moments_of
from nmfkit.testing import strategies as some

FOLDED = Preprocessing.parse("zscore-fold")
KINDS = [Preprocessing.parse(text, clip) for text in ("zscore", "zscore-fold") for clip in (None, 0.75)]
RNG = np.random.default_rng(3)
COUNTS = RNG.poisson(0.4, (60, 9)) * RNG.choice([1.0, 1.0, 0.25], (60, 9))


@st.composite
def signed(draw):
    """Matrices of either sign, with zeros, repeated entries, constant columns and all-zero ones."""
    x = draw(some.matrices())
    x *= draw(some.arrays(x.shape, st.sampled_from([1.0, 1.0, -1.0])))
    x[:, draw(st.lists(st.integers(0, x.shape[1] - 1), max_size=1))] *= -1
    return x


def found(blocks):
    return combine(moments_of(x, {}, {})[1] for x in blocks)["moments"]


def over(*blocks):
    """A sweep over these blocks."""
    return lambda step, rows, shared: (None, combine(step(x, rows, shared)[1] for x in blocks))


def learnt(x, dtype=np.float64):
    """Of any matrix, also one without a column that varies."""
    m = found([Dense(x)])
    standard = Standard.of(Moments(m.count, *(np.append(a, 1.0) for a in (m.mean, m.rest, m.m2))), dtype)
    return {"mean": standard.mean[:-1], "scale": standard.scale[:-1]}


def scores(x, known, clip=None):
    """(x − mean) / scale as it is defined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(known["scale"] > 0, (x - known["mean"]) / known["scale"], 0)
    return z if clip is None else np.clip(z, -clip, clip)
