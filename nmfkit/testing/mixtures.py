"""Data of known components: weights, components, noise and warm starts, with seeds, for tests of recovery.

Letters as everywhere: X (m, n) = W* H* with weights W* (m, r) ≥ 0 and components H* (r, n). The weights are those of
the experiments of Li & Liang, *Provable Alternating Gradient Descent for Non-negative Matrix Factorization with Strong
Correlations*, ICML 2017, and a true logistic normal beside them.
"""

from __future__ import annotations

import math

import numpy as np

from nmfkit.blocks import Array

BATCH = 64
"""Samples that draw their matrices at once; another number would be another stream of random numbers."""


# --- weights ------------------------------------------------------------------------------------------------


def dirichlet_weights(samples: int, rank: int, seed: int, *, total: float = 5.0) -> Array:
    """W* (samples, rank), each row from the Dirichlet distribution with all parameters `total` / rank > 0."""
    _refuse_below(0, total=total)
    return _generator(seed, 0).dirichlet(np.full(rank, total / rank), samples)


def correlated_weights(samples: int, rank: int, seed: int) -> Array:
    """W* (samples, rank), softmax(C C g) with a normal matrix C (rank, rank) and vector g of each sample's own.

    The authors' code draws its "correlated topic model" so. Logits have a standard deviation of about `rank`, so that
    most rows are nearly one component, and components are hardly correlated: see `logistic_normal_weights`.
    """
    rng = _generator(seed, 1)
    batches = [_correlated(rng, min(BATCH, samples - first), rank) for first in range(0, samples, BATCH)]
    return np.concatenate(batches) if batches else np.zeros((0, rank))


def _correlated(rng: np.random.Generator, samples: int, rank: int) -> Array:
    c = rng.standard_normal((samples, rank, rank))
    g = rng.standard_normal((samples, rank, 1))
    return softmax((c @ (c @ g))[..., 0])


def logistic_normal_weights(
    samples: int, rank: int, seed: int, *, sd: float = 4.0, correlation: float = 0.8, group: int = 5
) -> Array:
    """W* (samples, rank), softmax(g) of normal g that share one covariance.

    Entries of g have the standard deviation `sd` > 0, those of one group of `group` neighbours the correlation
    `correlation` in [0, 1), and those of different groups none. No weight is ever exactly zero.
    """
    _refuse_below(0, sd=sd, group=group)
    if not 0 <= correlation < 1:
        raise ValueError(f"correlation must be in [0, 1), not {correlation}")
    rng = _generator(seed, 2)
    common = rng.standard_normal((samples, math.ceil(rank / group)))
    own = rng.standard_normal((samples, rank))
    of_group = np.arange(rank) // group
    return softmax(sd * (math.sqrt(correlation) * common[:, of_group] + math.sqrt(1 - correlation) * own))


def binary_weights(samples: int, rank: int, seed: int, *, chance: float = 0.2) -> Array:
    """W* (samples, rank) of zeros and ones, each one with probability `chance` in (0, 1]."""
    if not 0 < chance <= 1:
        raise ValueError(f"chance must be in (0, 1], not {chance}")
    return (_generator(seed, 3).random((samples, rank)) < chance).astype(np.float64)


def softmax(logits: Array) -> Array:
    """exp(v) / Σ exp(v) along the last axis."""
    powers = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    found: Array = powers / np.sum(powers, axis=-1, keepdims=True)
    return found


# --- components ---------------------------------------------------------------------------------------------


def signed_components(rank: int, features: int, seed: int) -> Array:
    """H* (rank, features) of uniform numbers in [−½, ½)."""
    return _generator(seed, 4).random((rank, features)) - 0.5


def dense_components(rank: int, features: int, seed: int) -> Array:
    """H* (rank, features) of |N(0, 1)| + ½: positive everywhere, so that zeros tell nothing."""
    return np.abs(_generator(seed, 5).standard_normal((rank, features))) + 0.5


def sparse_components(rank: int, features: int, seed: int, *, zeros: float = 0.8) -> Array:
    """H* (rank, features) of |N(0, 1)|, each entry zero with probability `zeros` in [0, 1); no row is all zero."""
    if not 0 <= zeros < 1:
        raise ValueError(f"zeros must be in [0, 1), not {zeros}")
    rng = _generator(seed, 6)
    h = np.abs(rng.standard_normal((rank, features)))
    kept = rng.random((rank, features)) >= zeros
    kept[np.arange(rank), np.arange(rank) % features] = True
    return h * kept


def smoothed(components: Array, part: float = 0.5) -> Array:
    """H* with a `part` in [0, 1) of each row's sum spread evenly over all features: without zeros where part > 0."""
    if not 0 <= part < 1:
        raise ValueError(f"part must be in [0, 1), not {part}")
    found: Array = (1 - part) * components + part * np.mean(components, axis=1, keepdims=True)
    return found


# --- noise and warm starts ----------------------------------------------------------------------------------


def with_noise(x: Array, seed: int, *, noise: float) -> Array:
    """X (m, n) and normal noise of the standard deviation `noise` / n ≥ 0, as N(0, (noise / n)²).

    Where rows sum to 1, as mixtures of topics do, that is `noise` times the mean entry. Entries may become negative.
    """
    if not noise >= 0:
        raise ValueError(f"noise must be at least 0, not {noise}")
    found: Array = x + noise / x.shape[1] * _generator(seed, 7).standard_normal(x.shape)
    return found


def warm_start(components: Array, seed: int, *, spread: float | None = None, additive: float = 0.0) -> Array:
    """(I + U)ᵀ H* + V for H* (r, n): every component with some of all others in it, as the paper's experiments start.

    U is uniform in [−spread/2, spread/2), where `spread` is 1/√r unless given, and V in [−additive/2, additive/2).
    """
    rank = len(components)
    spread = 1 / math.sqrt(rank) if spread is None else spread
    rng = _generator(seed, 8)
    mixing = np.eye(rank) + spread * (rng.random((rank, rank)) - 0.5)
    found: Array = mixing.T @ components + additive * (rng.random(components.shape) - 0.5)
    return found


def _generator(seed: int, what: int) -> np.random.Generator:
    """A stream of its own for each kind of numbers, so that one seed may serve them all."""
    return np.random.default_rng([seed, what])


def _refuse_below(least: float, **given: float) -> None:
    for name, value in given.items():
        if not value > least:
            raise ValueError(f"{name} must be above {least}, not {value}")
