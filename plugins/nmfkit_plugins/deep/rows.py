"""Rows of every w for data at hand, the h's being fixed: the W half of a sweep, repeated until no row moves."""

from __future__ import annotations

import numpy as np

from nmfkit.blocks import Array, Block, Dense
from nmfkit.pace import Pace
from nmfkit.protocols import Ingredients
from nmfkit_plugins.beta.encoding import encoded, further
from nmfkit_plugins.deep.chain import Chain

ALONE, ALONE_TOL = 8, 1e-2
"""Updates of each layer's rows alone, before they are coupled, and the change of a row below which that will do."""


def fitted_rows(chain: Chain, x: Block, sweeps: int, tol: float) -> list[Array]:
    """The W's (rows, r_ℓ) of `chain` fitted to the block `x`.

    At most `sweeps` updates; a row whose entries have moved at no level by more than `tol` of the largest there stays
    as it is, whatever its neighbours still do.
    """
    ws = _alone(chain, x, sweeps)
    bases, pace = ws, Pace()
    moving = ws[0][:, :1] >= 0
    for _ in range(sweeps):
        proposed = chain.rows(x, bases, ws)
        new = [np.where(moving, after, before) for after, before in zip(proposed, ws, strict=True)]
        moved = [_moved(after, before, tol) for after, before in zip(new, ws, strict=True)]
        bases = [
            further(chain.rule, after, before, base, pace.weight)
            for after, before, base in zip(new, ws, bases, strict=True)
        ]
        ws, moving = new, moving & np.any(np.concatenate(moved, axis=1), axis=1, keepdims=True)
        pace = pace.onward()
        if not bool(np.any(moving)):
            break
    return ws


def _moved(after: Array, before: Array, tol: float) -> Array:
    change = np.max(np.abs(after - before), axis=1, keepdims=True)
    moved: Array = change > tol * np.max(after, axis=1, keepdims=True)
    return moved


def _alone(chain: Chain, x: Block, sweeps: int) -> list[Array]:
    """Each layer's rows fitted to those of the layer before, as if there were no layer below."""
    ws: list[Array] = []
    data = x
    for h, moment in zip(chain.hs, chain.moments, strict=True):
        parts = Ingredients(chain.loss, chain.rule, (), (), (len(h),))
        state = {"h": h, "w.prepared": (), "w.stats": (), "floor": moment.floor, "sweep": moment.sweep}
        state |= {"encode.sweeps": min(sweeps, ALONE), "encode.tol": ALONE_TOL}
        w, _ = encoded(parts, data, state)
        ws.append(np.maximum(w, moment.floor))
        data = Dense(ws[-1], x.first, x.whole)
    return ws
