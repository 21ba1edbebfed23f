"""A model of what is made of X, Y = view(X), with a product that may be cut off at 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nmfkit.judging import HalfSquares
from nmfkit.lowrank import LowRank
from nmfkit.preprocessing import Preprocessing
from nmfkit.protocols import Ingredients


class Cut(HalfSquares):
    """½ ‖max(W H, 0) − Y‖²."""

    def value(self, x, y):
        return 0.5 * float(np.sum(np.square(x.dense() - self.fitted(y), dtype=np.float64)))

    def offset(self, x):
        return 0.5 * float(np.sum(np.square(x.dense(), dtype=np.float64)))

    def fitted(self, y):
        return np.maximum(y.form(), 0)


@dataclass(frozen=True)
class Viewed:
    """Y ≈ w h with h of either sign, drawn once, and w what is above 0 of least squares; `cut` makes it max(w h, 0)."""

    parts: Ingredients
    preprocess: str = "zscore-fold"
    cut: bool = False

    takes: ClassVar[frozenset[str]] = frozenset()
    row_factors: ClassVar[tuple[str, ...]] = ("w",)
    elementwise: ClassVar[bool] = True
    forms_product: ClassVar[bool] = True
    signed: ClassVar[bool] = True

    @property
    def steps(self):
        return Preprocessing.parse(self.preprocess)

    def misfits(self):
        return []

    def start(self, initializer, sweep, probe, seed, dtype):
        learnt = self.steps.learn(sweep, dtype)
        rng, n = np.random.default_rng(seed), self.steps.width(probe.shape[1])
        shared = {"h": (rng.random((self.parts.ranks[0], n)) - 0.3).astype(dtype), "view": learnt}
        rows, _ = sweep(self.local, None, shared)
        return rows, shared

    def local(self, x, rows, shared):
        y, h = self.view(x, shared), shared["h"]
        w = np.maximum(np.linalg.solve(h @ h.T, y.dot(h.T).T).T, 0)
        return {"w": w}, {"value": self.measure().value(y, LowRank(w, h))}

    encode = local

    def apply(self, shared, stats):
        return shared

    def objective(self, shared, stats):
        return float(stats["value"])

    def factors(self, shared):
        return {"h": shared["h"]}

    def view(self, x, shared):
        return self.steps.view(x, shared["view"])

    def columns(self, names):
        return self.steps.columns(names)

    def restored(self, w, shared):
        y = w @ shared["h"]
        return self.steps.back(np.maximum(y, 0) if self.cut else y, shared["view"])

    def measure(self):
        return Cut() if self.cut else HalfSquares()


def cut(parts):
    """With the product cut off at 0."""
    return Viewed(parts, cut=True)


def standardized(parts):
    """With columns standardized, and as many as X has."""
    return Viewed(parts, preprocess="zscore")


def plain(parts):
    """With Y = X."""
    return Viewed(parts, preprocess="none")
