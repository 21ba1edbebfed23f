"""The steps between X and what is factorized, by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmfkit import kernels
from nmfkit.blocks import CSR, Array, Block, Dense
from nmfkit.parts import canonical, suggestion
from nmfkit.preprocessing.folded import unfold
from nmfkit.preprocessing.moments import STATISTIC, moments_of, unweighed
from nmfkit.preprocessing.shifted import Shifted
from nmfkit.preprocessing.standardized import Standard
from nmfkit.protocols import Shared, Sweep

STEPS = ("none", "zscore", "zscore-fold")
"""The names there are."""


@dataclass(frozen=True)
class Preprocessing:
    """What the columns of X go through before they are factorized: Y = view(X).

    "none" leaves them as they are. "zscore" makes their mean 0 and their standard deviation 1. "zscore-fold" makes two
    nonnegative columns of each of those, [max(z, 0), max(−z, 0)]. With `clip`, |z| is at most that. What is learnt of
    the data is {"mean": (n,), "scale": (n,)}, and {} for "none". Raises `ValueError` for another name, and for a `clip`
    that is not above 0 or has nothing to act on.
    """

    text: str = "none"
    clip: float | None = None

    def __post_init__(self) -> None:
        faults = [
            (self.text not in STEPS, f"preprocess {self.text!r} is unknown{suggestion(self.text, STEPS)}"),
            (self.clip is not None and not 0 < self.clip < math.inf, f"clip must be above 0, not {self.clip}"),
            (self.clip is not None and self.text == "none", "clip bounds z-scores, and preprocess none makes none"),
        ]
        if wrong := [sentence for holds, sentence in faults if holds]:
            raise ValueError("; ".join(wrong))

    @classmethod
    def parse(cls, text: str, clip: float | None = None) -> Preprocessing:
        """The steps of that name, in upper or lower case; raises `ValueError` as the class does."""
        return cls(canonical(text), clip)

    @property
    def standardizes(self) -> bool:
        """Whether columns are shifted and scaled, so that there is something to learn."""
        return self.text != "none"

    @property
    def folds(self) -> bool:
        """Whether each column becomes two."""
        return self.text == "zscore-fold"

    def learn(self, sweep: Sweep, dtype: Any) -> dict[str, Array]:
        """Mean and scale (n,) of each column in `dtype`, from one read of X; {} where nothing is to be learnt.

        `scale` is 0 where a column is constant (`Standard.of`). Raises `DataError` where all are, or where squares
        overflow, and `Incompatible` where entries are missing or weighed.
        """
        if not self.standardizes:
            return {}
        _, found = sweep(moments_of, None, {})
        standard = Standard.of(found[STATISTIC], dtype)
        return {"mean": standard.mean, "scale": standard.scale}

    def view(self, x: Block, learnt: Shared) -> Block:
        """The rows (k, N) of Y for a block (k, n) of X, in the dtype of `learnt`; the block itself for "none".

        A CSR block becomes a `Shifted` one. Raises `Incompatible` where entries are missing or weighed.
        """
        if not self.standardizes:
            return x
        unweighed(x)
        standard = self._standard(learnt)
        return self._sparse(x, standard) if isinstance(x, CSR) else self._dense(x, standard)

    def back(self, y: Array, learnt: Shared) -> Array:
        """The rows (k, n) in the units of X of rows `y` (k, N) of Y or of its approximation."""
        if not self.standardizes:
            return y
        return self._standard(learnt).back(unfold(y) if self.folds else y)

    def width(self, n: int) -> int:
        """N, the number of columns that n columns become."""
        return 2 * n if self.folds else n

    def columns(self, names: Sequence[str]) -> list[str]:
        """Names of the N columns of Y from the n of X: "age" becomes "age high" and, n columns later, "age low"."""
        return [f"{name} {side}" for side in ("high", "low") for name in names] if self.folds else list(names)

    def _standard(self, learnt: Shared) -> Standard:
        return Standard(learnt["mean"], learnt["scale"], self.clip)

    def _dense(self, x: Block, standard: Standard) -> Dense:
        (k, n), values = x.shape, x.dense()
        y = np.empty_like(values, shape=(k, self.width(n)), dtype=standard.mean.dtype, order="C")
        if self.folds:
            clip = math.inf if self.clip is None else self.clip
            kernels.folded_scores(values, standard.mean, standard.inverse, clip, y, whole=x.whole)
        else:
            standard.into(y, values)
        return Dense(y, x.first, x.whole)

    def _sparse(self, x: CSR, standard: Standard) -> Shifted:
        columns = x.indices.astype(np.intp)  # what NumPy would make of them at each use
        z, zero = standard.at(x.values, columns), standard.at_zero()
        if self.folds:
            return _folded(x, z, zero, columns)
        return Shifted(x.like(z - np.take(zero, columns)), zero)


def _folded(x: CSR, z: Array, zero: Array, columns: Array) -> Shifted:
    """Folded rows whose entries are `z` (nnz,) where `x` stores one and those of `zero` (n,) elsewhere.

    The two entries that come of one stand side by side, so columns are not in order within a row.
    """
    above, below = np.maximum(zero, 0), np.maximum(-zero, 0)
    values, indices = np.empty_like(z, shape=(2 * len(z),)), np.empty_like(x.indices, shape=(2 * len(z),))
    np.subtract(np.maximum(z, 0), np.take(above, columns), out=values[0::2])
    np.subtract(np.maximum(-z, 0), np.take(below, columns), out=values[1::2])
    indices[0::2] = x.indices
    np.add(x.indices, x.n, out=indices[1::2])
    return Shifted(CSR(values, indices, 2 * x.indptr, 2 * x.n, x.first, x.whole), np.concatenate((above, below)))
