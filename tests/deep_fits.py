"""Deep fits as the tests of them ask for them, and the oracle that goes on from where one stands."""

from __future__ import annotations

import numpy as np
from oracles.deep import Deep, Layer

import nmfkit

PLAIN = {"extrapolate": False, "joint": False}
"""Each factor from the others as they are now, one after the other."""


def deep(x, ranks=(5, 3, 2), *, beta=1, normalize="h", sweeps=20, init_sweeps=20, model=(), **options):
    """A deep fit of so many sweeps; `model` are further options of the model."""
    given = {"normalize": normalize, "init_sweeps": init_sweeps, **dict(model)}
    options = {"tol": 0, "pilot": "none", "threads": 1, **options}
    return nmfkit.fit(
        x, model="deep-nmf", loss=f"beta:{beta}", ranks=list(ranks), model_options=given, max_sweeps=sweeps, **options
    )


def ws(fit):
    """W₁, …, W_L."""
    return factors(fit, "w")


def hs(fit):
    """H₁, …, H_L."""
    return factors(fit, "h")


def factors(fit, letter):
    count = len(fit.problem.ranks)
    return [np.array(fit.factors[f"{letter}{i}"], np.float64) for i in range(1, count + 1)]


def losses(fit):
    """What the model says of its layers."""
    return fit.model.layer_losses(fit.state.following)


def oracle_of(fit, x, beta, normalize="h", volumes=None):
    """The oracle with the factors and the weights of a fit on the side of coefficients; `volumes`: (α, δ) of each."""
    weights = losses(fit).weights
    volumes = volumes or [(0.0, 1.0)] * len(weights)
    layers = [Layer(weight, alpha, delta) for weight, (alpha, delta) in zip(weights, volumes, strict=True)]
    floors = fit.state.current["floors"]
    return Deep(np.asarray(x, float), ws(fit), hs(fit), beta, layers, normalize, floors)


def turned(fit, x, beta, normalize="h"):
    """The same on the side of components: Xᵀ ≈ H₁ᵀ W₁ᵀ, H₁ᵀ ≈ H₂ᵀ W₂ᵀ, …, so that W's sums are those of H there."""
    layers = [Layer(weight) for weight in losses(fit).weights]
    other = {"h": "w", "w": "h"}[normalize]
    return Deep(np.asarray(x, float).T, [h.T for h in hs(fit)], [w.T for w in ws(fit)], beta, layers, other)


def assert_falls(objectives, slack=1e-10):
    """No rise beyond rounding."""
    objectives = np.asarray(objectives, float)
    assert np.isfinite(objectives).all()
    rises = np.diff(objectives) > slack * np.maximum(1, np.abs(objectives[:-1]))
    assert not rises.any(), objectives.tolist()
