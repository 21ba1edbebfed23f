"""Loss and gradient of the encoder and of H, as sums over the rows of a block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nmfkit.blocks import Array, Block, sum_of_squares
from nmfkit_plugins.mdsr.encoder import layers_of

TILE = 2**18
"""Entries of Ŷ that are in memory at a time where it is formed."""

FEW = 2
"""Times r rows of a dense block up to which Ŷ − Y takes fewer operations than the Gram form, and two of H's memory."""


def sums(x: Block, net: Mapping[str, Array], sizes: tuple[int, ...], output: str) -> dict[str, Any]:
    """Sums over the rows of a block of Y (rows, N): "squares" = ‖Ŷ − Y‖², its gradient by name of `net`, and "rows".

    Ŷ = W H (`output` "linear") or max(W H, 0) ("relu") with W = H_L. D_L = (G Hᵀ) ⊙ W ⊙ (1 − W), where G = 2 (Ŷ − Y),
    0 where Ŷ is cut off; D_{i−1} = (D_i V_iᵀ) ⊙ H_{i−1} ⊙ (1 − H_{i−1}); the gradients are Yᵀ D_i, H_{i−1}ᵀ D_i and
    Wᵀ G: Dutta & De, arXiv 2405.13449 (2024). "linear" needs only W H Hᵀ − Y Hᵀ and WᵀW H − WᵀY, so that Y is taken
    by its products alone; few rows of a dense block are cheaper entry by entry.
    """
    return encoded(x, net, sizes, output)[1]


def encoded(x: Block, net: Mapping[str, Array], sizes: tuple[int, ...], output: str) -> tuple[Array, dict[str, Any]]:
    """W (rows, r) of a block of Y, and the same sums."""
    entries = output == "relu" or (x.is_full and x.shape[0] <= FEW * sizes[-1])
    return _through_entries(x, net, sizes, output) if entries else _through_grams(x, net, sizes)


def residual(x: Block, w: Array, h: Array, output: str) -> float:
    """‖Ŷ − Y‖² of the rows `w` (rows, r) of a block of Y: Ŷ = w h ("linear") or max(w h, 0) ("relu"); `h` (r, N).

    Entry by entry for a dense block and for "relu". Elsewhere by the Gram form, all of it in float64.
    """
    if output == "linear" and not x.is_full:
        w, h = w.astype(np.float64), h.astype(np.float64)
        return max(0.0, x.squares() - 2 * _inner(w, x.dot(h.T)) + _inner(w.T @ w, h @ h.T))
    # The Gram form would take a product of the same size, Y hᵀ, and cancels.
    return sum(sum_of_squares(_ahead(w[lo:hi] @ h, tile.dense(), output)) for lo, hi, tile in _tiles(x))


def _through_grams(x: Block, net: Mapping[str, Array], sizes: tuple[int, ...]) -> tuple[Array, dict[str, Any]]:
    h, wide = net["h"], sum(sizes)
    # One product with [U | Hᵀ], one with [D | W]: reading Y, or unpacking a sparse one, twice costs more than a copy.
    made = x.dot(np.concatenate((net["u"], h.T), axis=1))
    layers, right = layers_of(made, net, sizes), made[:, wide:]
    w = layers[-1]
    pull, by_h, value = _modelled(w, h)
    bars, found = _back(pull - right, layers, net)
    back = x.tdot(np.concatenate((*bars, w), axis=1))
    by_h -= back[:, wide:].T
    by_h *= 2
    size = x.squares()
    value += size - 2 * _inner(w, right)
    # What cancels costs digits. At this limit 6 are left in float32, 10 in float64; the other way is a product more.
    if value < size * float(np.finfo(w.dtype).eps) ** 0.25:
        value = residual(x, w, h, "linear")
    return w, {"u": back[:, :wide], **found, "h": by_h, "squares": value, "rows": float(len(w))}


def _modelled(w: Array, h: Array) -> tuple[Array, Array, float]:
    """W H Hᵀ (rows, r), WᵀW H (r, N) and ‖W H‖²."""
    if len(w) <= len(h):  # then W H is no larger than H, and saves products of H with matrices of r × r
        product = w @ h
        return product @ h.T, w.T @ product, sum_of_squares(product)
    gram, square = w.T @ w, h @ h.T
    return w @ square, gram @ h, _inner(gram, square)


def _through_entries(
    x: Block, net: Mapping[str, Array], sizes: tuple[int, ...], output: str
) -> tuple[Array, dict[str, Any]]:
    h = net["h"]
    layers = layers_of(x.dot(net["u"]), net, sizes)
    w = layers[-1]
    pull, by_h, value = np.empty_like(w), np.zeros_like(h), 0.0
    for lo, hi, tile in _tiles(x):
        product = w[lo:hi] @ h
        lives = product > 0 if output == "relu" else None
        ahead = _ahead(product, tile.dense(), output)
        value += sum_of_squares(ahead)
        if lives is not None:
            ahead *= lives
        pull[lo:hi] = ahead @ h.T
        by_h += w[lo:hi].T @ ahead
    by_h *= 2
    bars, found = _back(pull, layers, net)
    by_u = x.tdot(np.concatenate(bars, axis=1))
    return w, {"u": by_u, **found, "h": by_h, "squares": value, "rows": float(len(w))}


def _back(pull: Array, layers: tuple[Array, ...], net: Mapping[str, Array]) -> tuple[list[Array], dict[str, Array]]:
    """D_1 … D_L, and the gradients of V_2 … V_L by name, from `pull`: half the gradient by the rows of W."""
    bar = _before(2 * pull, layers[-1])
    bars, found = [bar], {}
    for i in range(len(layers), 1, -1):
        found[f"v{i}"] = layers[i - 2].T @ bar
        bar = _before(bar @ net[f"v{i}"].T, layers[i - 2])
        bars.insert(0, bar)
    return bars, found


def _before(pull: Array, layer: Array) -> Array:
    """The gradient ahead of σ from that behind it, with σ′ = σ (1 − σ); changes `pull`."""
    pull *= layer
    pull *= 1 - layer
    return pull


def _ahead(product: Array, y: Array, output: str) -> Array:
    """Ŷ − Y in the place of `product` = W H."""
    if output == "relu":
        np.maximum(product, 0, out=product)
    product -= y
    return product


def _tiles(x: Block) -> list[tuple[int, int, Block]]:
    """Runs of rows with at most `TILE` entries, or one row."""
    rows, n = x.shape
    step = max(1, TILE // max(1, n))
    if step >= rows:
        return [(0, rows, x)]
    return [(lo, min(rows, lo + step), x.rows(lo, min(rows, lo + step))) for lo in range(0, rows, step)]


def _inner(a: Array, b: Array) -> float:
    """⟨a, b⟩ in float64."""
    return float(a.astype(np.float64, copy=False).ravel() @ b.astype(np.float64, copy=False).ravel())
