"""What the passes of an unrolled network do to the rows of one panel of A."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.protocols import Rows, Shared, Stats
from nmfkit.stats import Gathered
from nmfkit_plugins.symnmf.net_blocks import (
    Layer,
    crossed,
    inner,
    inverse,
    linear,
    output,
    product,
    pulled,
    seed,
    through_inverse,
    turned,
)


class OnRows:
    """Blocks forward and back, and a plain iteration; the network says how many blocks it has, and what they are."""

    blocks: int
    lam: float

    @property
    def supervision(self) -> float:
        """γ of the deep supervision."""
        raise NotImplementedError

    def layer(self, shared: Shared, k: int) -> Layer:
        """Block number `k`."""
        raise NotImplementedError

    def forward(self, x: Block, rows: Rows, shared: Shared, k: int) -> tuple[Rows, Stats]:
        """Rows of U_k from those before, of which `wide` has all; A V is kept for the way back."""
        layer, grams = self.layer(shared, k), grams_of(shared)
        av = product(x, whole_of(shared), layer, shared["scale"])
        v = _before(x, rows, shared, k)
        inverted = inverse(grams[k], layer.lam).astype(v.dtype)
        u = _without(output(linear(av @ inverted, v @ inverted, layer), layer), x.first, shared["empty"])
        stats = {
            "value": 0.0,
            "wide": Gathered.of(x.first, u),
            "gram": crossed(u, u),
            "mass": float(np.sum(u, dtype=np.float64)),
        }
        return {f"net.v{k + 1}": u, f"net.av{k + 1}": av}, stats

    def backward(self, x: Block, rows: Rows, shared: Shared, k: int) -> Stats:
        """Rows of the gradient by what block k puts into its R, and sums for its parameters."""
        layer, grams, u = self.layer(shared, k), shared["grams"], rows[f"net.v{k + 1}"]
        stats: dict[str, Any] = {"value": 0.0}
        if k == self.blocks - 1:
            au = x.dot(shared["wide"]) / shared["scale"]
            bar = seed(u, au, grams[k + 1], shared["squares"])
            stats["cross"] = inner(u, au)
        else:
            bar = self._passed_back(x, rows, shared, k)
        v = _before(x, rows, shared, k)
        inverted = inverse(grams[k], layer.lam).astype(v.dtype)
        p_bar, sums = pulled(bar, u, rows[f"net.av{k + 1}"] @ inverted, v @ inverted, layer)
        return {**stats, **sums, "wide": Gathered.of(x.first, p_bar)}

    def _passed_back(self, x: Block, rows: Rows, shared: Shared, k: int) -> Array:
        """Rows of Ū_k through the block after it, and its own share of the loss with deep supervision."""
        above, u, gram = self.layer(shared, k + 1), rows[f"net.v{k + 1}"], shared["grams"][k + 1]
        q_bar = turned(x, shared["wide"], above, shared["scale"])
        bar = through_inverse(q_bar, u, inverse(gram, above.lam), shared["pulls"][0].sums["p"])
        if self.supervision:
            own = seed(u, rows[f"net.av{k + 2}"], gram, shared["squares"])
            bar = bar + self.supervision ** (self.blocks - 1 - k) * own
        return bar

    def iterated(self, x: Block, shared: Shared) -> tuple[Rows, Stats]:
        """A plain iteration, and ⟨H, A H⟩ of the H before it."""
        layer, f = Layer(self.lam, 1.0, self.lam), shared["f"]
        v, av = f[x.first : x.first + x.shape[0]], product(x, f, layer, shared["scale"])
        inverted = inverse(shared["gram"], layer.lam).astype(f.dtype)
        u = _without(output(linear(av @ inverted, v @ inverted, layer), layer), x.first, shared["empty"])
        stats = {"wide": Gathered.of(x.first, u), "gram": crossed(u, u), "cross": inner(v, av)}
        return {}, {"value": 0.0, **stats}


def grams_of(shared: Shared) -> tuple[Array, ...]:
    """VᵀV of the start and of each block so far."""
    grams: tuple[Array, ...] = shared.get("grams", (shared["v0.gram"],))
    return grams


def whole_of(shared: Shared) -> Array:
    """All rows that the next block starts from."""
    whole: Array = shared["wide"] if "at" in shared else shared["v0"]
    return whole


def _before(x: Block, rows: Rows, shared: Shared, k: int) -> Array:
    """The rows that block k starts from."""
    v: Array = rows[f"net.v{k}"] if k else shared["v0"][x.first : x.first + x.shape[0]]
    return v


def _without(u: Array, first: int, empty: Array | None) -> Array:
    """Rows of nodes without a neighbour stay zero, whatever the thresholds."""
    if empty is None:
        return u
    kept: Array = np.where(empty[first : first + len(u)] > 0, np.zeros_like(u), u)
    return kept
