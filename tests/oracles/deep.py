"""Deep β-NMF in memory, one factor after the other: X ≈ W₁ H₁, W₁ ≈ W₂ H₂, … with Σ λ_ℓ D_β(W_{ℓ−1}, W_ℓ H_ℓ).

Leplat, Hien, Onwunta & Gillis, Neural Computation 36(11), 2024; sums and volumes by exact steps on their majorisers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from oracles.divergence import divergence, halves, majoriser_slope, slope
from oracles.roots import rising_root, summed_root


def volume(w, delta):
    """ln det(WᵀW + δ I)."""
    return float(np.linalg.slogdet(w.T @ w + delta * np.eye(w.shape[1]))[1])


def volume_halves(w, delta):
    """W |Y| and W Y⁻ with Y = (WᵀW + δ I)⁻¹: the majoriser's slope is 2 W̃|Y| w/w̃ − 4 W̃Y⁻."""
    y = np.linalg.inv(w.T @ w + delta * np.eye(w.shape[1]))
    return w @ np.abs(y), w @ np.maximum(-y, 0)


@dataclass
class Layer:
    """The weight λ of a layer's divergence, the weight α of its volume, and δ in that."""

    weight: float = 1.0
    volume: float = 0.0
    delta: float = 1.0


def row_step(w, c, d, beta, layer, prior=None, next_weight=0.0, total=None):
    """The minimiser over W of λ · majoriser of D + λ₊ D(W, W̄) + α · majoriser of ln det, its columns' sums `total`."""
    w, c, d = (np.asarray(a, np.longdouble) for a in (w, c, d))
    up, down = volume_halves(w.astype(float), layer.delta) if layer.volume else (np.zeros(w.shape),) * 2

    def gradient(new):
        t = new / w
        value = layer.weight * majoriser_slope(t, c, d, beta)
        rises = layer.weight * majoriser_rise(t, c, d, beta) / w
        if prior is not None:
            value = value + next_weight * slope(new, prior, beta)
            rises = rises + next_weight * new ** np.longdouble(beta - 2)
        value = value + layer.volume * (2 * up * t - 4 * down)
        return value, rises + 2 * layer.volume * up / w

    found = rising_root(gradient, w) if total is None else summed_root(gradient, w, total, 0)[0]
    return found.astype(float)


def majoriser_rise(t, c, d, beta):
    """The derivative in t of `majoriser_slope`."""
    if beta < 1:
        return (2 - beta) * c * t ** (beta - 3)
    if beta <= 2:
        return (beta - 1) * d * t ** (beta - 2) + (2 - beta) * c * t ** (beta - 3)
    return (beta - 1) * d * t ** (beta - 2)


def column_step(x, w, h, beta, total=None):
    """The minimiser over H of the majoriser of D(X, W H), its rows' sums `total`."""
    return majorised(h, *halves(x.T, h.T, w.T, beta), beta, total)


def majorised(h, c, d, beta, total=None):
    """The same from the halves (n, r) of Hᵀ."""
    f = np.asarray(h.T, np.longdouble)

    def gradient(new):
        t = new / f
        return majoriser_slope(t, c, d, beta), majoriser_rise(t, c, d, beta) / f

    found = rising_root(gradient, f) if total is None else summed_root(gradient, f, total, 0)[0]
    return np.ascontiguousarray(found.T.astype(float))


@dataclass
class Deep:
    """The factors and what is minimised; `normalize` "h": rows of H_ℓ sum to 1, "w": columns of W_ℓ, None: nothing."""

    x: np.ndarray
    w: list
    h: list
    beta: float
    layers: list = field(default_factory=list)
    normalize: str | None = "h"
    floors: dict = field(default_factory=dict)
    """The least value of an entry, for each factor: zero is a fixed point of products."""

    def __post_init__(self):
        self.layers = self.layers or [Layer() for _ in self.w]

    def data(self, level):
        return self.x if level == 0 else self.w[level - 1]

    def losses(self):
        """D_β(W_{ℓ−1}, W_ℓ H_ℓ) of every layer."""
        return [divergence(self.data(i), w @ h, self.beta) for i, (w, h) in enumerate(zip(self.w, self.h, strict=True))]

    def objective(self):
        """Σ λ_ℓ D_ℓ + α_ℓ ln det(W_ℓᵀ W_ℓ + δ_ℓ I)."""
        terms = [layer.weight * loss for layer, loss in zip(self.layers, self.losses(), strict=True)]
        volumes = [i.volume * volume(w, i.delta) for i, w in zip(self.layers, self.w, strict=True) if i.volume]
        return sum(terms) + sum(volumes)

    def step_w(self, level):
        c, d = halves(self.data(level), self.w[level], self.h[level], self.beta)
        coupled = level + 1 < len(self.w)
        prior = self.w[level + 1] @ self.h[level + 1] if coupled else None
        following = self.layers[level + 1].weight if coupled else 0.0
        total = 1.0 if self.normalize == "w" else None
        new = row_step(self.w[level], c, d, self.beta, self.layers[level], prior, following, total)
        self.w[level] = np.maximum(new, self.floors.get(f"w{level + 1}", 0.0))

    def step_h(self, level):
        total = 1.0 if self.normalize == "h" else None
        new = column_step(self.data(level), self.w[level], self.h[level], self.beta, total)
        self.h[level] = np.maximum(new, self.floors.get(f"h{level + 1}", 0.0))

    def steps_w(self):
        """All W, from the first layer down."""
        for level in range(len(self.w)):
            self.step_w(level)

    def steps_h(self):
        """All H, with the W that are there."""
        for level in range(len(self.h)):
            self.step_h(level)

    def sweep(self):
        self.steps_w()
        self.steps_h()

    def sweep_at_once(self):
        """Both factors of each layer from one look at W_ℓ H_ℓ, top down: Kullback–Leibler's majoriser holds for both.

        It is that of expectation maximisation, and linear in the layer's data, which are those just renewed.
        """
        before = [w.copy() for w in self.w]
        for level, (w, h) in enumerate(zip(before, self.h, strict=True)):
            ratio = self.data(level) / (w @ h)
            self.step_w(level)
            c, d = ratio.T @ w, np.tile(self.w[level].sum(0), (h.shape[1], 1))
            total = 1.0 if self.normalize == "h" else None
            new = majorised(h, c, d, self.beta, total)
            self.h[level] = np.maximum(new, self.floors.get(f"h{level + 1}", 0.0))


def multilayer(x, ranks, beta, sweeps, seed, normalize="h"):
    """Layer after layer: β-NMF of X, then of its W, each from a random start; H's rows sum to 1 in the end."""
    rng = np.random.default_rng(seed)
    ws, hs, data = [], [], np.asarray(x, float)
    for rank in ranks:
        w, h = rng.random((data.shape[0], rank)), rng.random((rank, data.shape[1]))
        scale = data.mean() / (w @ h).mean()
        w = w * scale
        for _ in range(sweeps):
            w = plain(data, w, h, beta)
            h = plain(data.T, h.T, w.T, beta).T
        sums = h.sum(1) if normalize == "h" else 1 / w.sum(0)
        w, h = np.maximum(w * sums, 1e-300), np.maximum(h / sums[:, None], 1e-300)
        ws, hs, data = [*ws, w], [*hs, h], w
    return ws, hs


def plain(x, w, h, beta):
    """W ⊙ (Ĉ ⊘ D̂)^γ."""
    c, d = halves(x, w, h, beta)
    power = 1 / (2 - beta) if beta < 1 else 1.0 if beta <= 2 else 1 / (beta - 1)
    return np.maximum(w * (c / np.maximum(d, 1e-300)) ** power, 1e-16)
