"""Alternating directions for one W of minimum volume deep KL-NMF, which nmfkit's exact step replaces.

Leplat, Hien, Onwunta & Gillis, Neural Computation 36(11), 2024, algorithm 2, of

    min Σ s w − w̃ Ĉ ln w + α (W̃|Y| ⊘ W̃) w² − 4 α W̃Y⁻ w + λ d₁(w, w̄)   over W with Wᵀ e = e.

As printed there, the step of W has 2 ρ and 4 ρ where the penalty ρ/2 ‖W − Z + U‖² gives 2 ρ W̃ and 4 ρ W̃: `printed`
keeps the fault, and ends elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import wrightomega

from oracles.deep import volume_halves


@dataclass
class Subproblem:
    """What the majoriser is made of: W̃, Ĉ, the sums s of H's rows, W̄, λ, α and δ."""

    w: np.ndarray
    c: np.ndarray
    s: np.ndarray
    prior: np.ndarray
    weight: float
    alpha: float
    delta: float

    def __post_init__(self):
        self.up, self.down = volume_halves(self.w, self.delta)

    @classmethod
    def made(cls, seed, *, shape=(40, 30), rank=4, weight=0.7, alpha=0.5, delta=0.1):
        """One of random factors, with columns of W̃ that sum to 1."""
        rng = np.random.default_rng(seed)
        w, h = rng.random((shape[0], rank)) + 0.01, rng.random((rank, shape[1])) + 0.01
        w /= w.sum(0)
        x = rng.random((shape[0], rank)) @ rng.random((rank, shape[1])) / shape[0]
        prior = rng.random((shape[0], 2)) @ rng.random((2, rank)) / shape[0]
        return cls(w, (x / (w @ h)) @ h.T, h.sum(1), prior, weight, alpha, delta)

    def objective(self, w):
        fit = np.sum(self.s * w) - np.sum(self.w * self.c * np.log(w))
        size = self.alpha * np.sum(self.up / self.w * w**2 - 4 * self.down * w)
        return float(fit + size + self.weight * np.sum(w * np.log(w / self.prior) - w + self.prior))

    def gradient(self, w):
        """(values, slopes) in w."""
        b, a = self.w * self.c, 2 * self.alpha * self.up / self.w
        value = self.s - b / w + a * w - 4 * self.alpha * self.down + self.weight * np.log(w / self.prior)
        return value, b / w**2 + a + self.weight / w


def admm(problem, steps, rho=10.0, *, printed=False):
    """W after so many steps."""
    w = problem.w
    z, u, mu = w.copy(), np.zeros_like(w), np.zeros(w.shape[1])
    for _ in range(steps):
        w, mu = row_step(problem, z, u, mu, rho, printed)
        z = prior_step(problem, w + u, rho)
        u = u + w - z
    return w


def row_step(problem, z, u, mu, rho, printed):
    """The root of a quadratic for each entry, with a multiplier for each column, sought from those before."""
    scaled = np.ones_like(problem.w) if printed else problem.w
    t = 4 * problem.alpha * problem.up + 2 * rho * scaled
    s = (8 * problem.alpha * problem.up + 4 * rho * scaled) * problem.c
    linear = problem.s - 4 * problem.alpha * problem.down - rho * (z - u)
    # Σ w falls in μ and is convex: from where it is too large Newton's steps stay there.
    while np.any(sums(problem, linear + mu, s, t) < 1):
        mu = np.where(sums(problem, linear + mu, s, t) < 1, mu - 1 - np.abs(mu), mu)
    for _ in range(100):
        total = sums(problem, linear + mu, s, t)
        falls = np.sum(problem.w * (1 - (linear + mu) / np.sqrt((linear + mu) ** 2 + s)) / t, axis=0)
        step = (total - 1) / falls
        mu = mu + step
        if np.all(np.abs(step) <= 1e-14 * (1 + np.abs(mu))):
            break
    return quadratic(problem, linear + mu, s, t), mu


def quadratic(problem, linear, s, t):
    return problem.w * (np.sqrt(linear**2 + s) - linear) / t


def sums(problem, linear, s, t):
    return quadratic(problem, linear, s, t).sum(0)


def prior_step(problem, v, rho):
    """argmin of λ d₁(z, w̄) + ρ/2 (z − v)²."""
    nu = rho / problem.weight
    return wrightomega(np.log(nu) + np.log(problem.prior) + nu * v) / nu
