"""The encoder: every layer reads the data, and the layer before it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nmfkit.blocks import Array, Block


def forward(x: Block, net: Mapping[str, Array], sizes: tuple[int, ...]) -> tuple[Array, ...]:
    """H_1 (rows, r_1) … H_L (rows, r_L) of the rows of a block of Y, entries from 0 to 1; the last one is their W.

    H_1 = σ(Y U_1), H_i = σ(Y U_i + H_{i−1} V_i): Dutta & De, arXiv 2405.13449 (2024). Y is multiplied
    once for all layers.
    """
    return layers_of(x.dot(net["u"]), net, sizes)


def layers_of(read: Array, net: Mapping[str, Array], sizes: tuple[int, ...]) -> tuple[Array, ...]:
    """H_1 … H_L from `read` = Y [U_1 | … | U_L], (rows, R) or wider."""
    layers: list[Array] = []
    lo = 0
    for i, size in enumerate(sizes, 1):
        z = read[:, lo : lo + size]
        layers.append(logistic(z + layers[-1] @ net[f"v{i}"] if layers else z))
        lo += size
    return tuple(layers)


def logistic(z: Array) -> Array:
    """σ(z) = ½ (1 + tanh(z / 2)), entry by entry: no z overflows."""
    found: Array = z * 0.5
    np.tanh(found, out=found)
    found *= 0.5
    found += 0.5
    return found
