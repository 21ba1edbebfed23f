"""What a fit of the network begins with: the size of A, the start in units of it, and the parameters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.errors import UsageError
from nmfkit.executors.plan import size_text
from nmfkit.executors.rows import ResidentRows
from nmfkit.probe import Probe
from nmfkit.protocols import Initializer, Rows, RowStore, Shared, Stats, Sweep
from nmfkit.stats import Gathered
from nmfkit_plugins.symnmf import net_adam
from nmfkit_plugins.symnmf.beginning import factor_of, gram_of
from nmfkit_plugins.symnmf.matrix import gathered_matrix, survey_panel
from nmfkit_plugins.symnmf.net_variants import DENSE_MOST

if TYPE_CHECKING:
    from nmfkit_plugins.symnmf.net import SymNMFNet

POWERS = 12
"""Products that find the spectral norm of A, to within a few hundredths: a unit need not be exact."""

WEIGHTS, LARGE = 14, 2**28
"""Arrays of the size of all weights that a fit of variant dense holds at most: the network and what Adam keeps, before
and after a step and of the best sweep; and bytes of which it tells.
"""


def begun(
    model: SymNMFNet, initializer: Initializer, sweep: Sweep, probe: Probe, seed: int, dtype: Any
) -> tuple[RowStore, Shared]:
    """Rows {"w"} and the state before the first sweep."""
    n, rank = probe.shape[0], model.parts.ranks[0]
    refuse_large(model, n)
    known = model.known()
    f = factor_of(initializer, sweep, probe, rank, seed, dtype)
    _, found = sweep(survey_panel, None, {"ignored": False})
    empty = found["empty"].whole()
    f[empty[:, 0] > 0] = 0
    scale = spectral_norm(sweep, n, seed, dtype)
    v0 = (f / math.sqrt(scale)).astype(dtype)
    _, stats = sweep(against, None, {"f": v0})
    if known is None:
        known = model.family.begin(model.blocks, rank, model.lam, _matrix(model, sweep, scale))
    gram = gram_of(v0)
    shared = {
        "f": v0,
        "v0": v0,
        "gram": gram,
        "v0.gram": gram,
        "cross": float(stats["cross"]) / scale,
        "squares": probe.squares / scale**2,
        "scale": scale,
        "empty": empty if bool(empty.any()) else None,
        "sweep": 0,
        "net": known,
        "best": known,
        "best.loss": math.inf,
        "adam": net_adam.at_rest(known),
        "pace": 1.0,
    }
    return ResidentRows({"w": f}), shared


def refuse_large(model: SymNMFNet, n: int) -> None:
    """Raise `UsageError` where every block would have weights of n × n, and n is large."""
    if model.family.dense and n > DENSE_MOST:
        raise UsageError(
            f"variant dense has {n:,} × {n:,} weights in each of {model.blocks} blocks, and takes up to "
            f"{DENSE_MOST:,} nodes: use variant equivariant or mixing"
        )


def cautions_of(model: SymNMFNet, n: int) -> list[str]:
    """How much memory weights of n × n take, where it is much."""
    size = WEIGHTS * model.blocks * n**2 * 8
    if not model.family.dense or size < LARGE:
        return []
    told = f"{size_text(size)} for the weights of {model.blocks} blocks and their training"
    return [f"variant dense takes up to {told}, beside what --memory is for; the others take next to none"]


def spectral_norm(sweep: Sweep, n: int, seed: int, dtype: Any) -> float:
    """About the largest size of an eigenvalue of A, from below; 1 where that is nothing."""
    v = np.random.default_rng([seed, 5]).standard_normal((n, 1)).astype(dtype)
    size = 0.0
    for _ in range(POWERS):
        v = (v / np.linalg.norm(v)).astype(dtype)
        _, stats = sweep(multiplied, None, {"v": v})
        v = stats["v"].whole()
        size = float(np.linalg.norm(v.astype(np.float64)))
        if not size > 0:
            return 1.0
    return size


def multiplied(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """The step that gathers A v."""
    del rows
    return {}, {"v": Gathered.of(x.first, x.dot(shared["v"]))}


def against(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """The step that adds up ⟨F, A F⟩."""
    del rows
    f = shared["f"]
    mine = f[x.first : x.first + x.shape[0]].astype(np.float64)
    return {}, {"cross": float(np.sum(mine * x.dot(f)))}


def _matrix(model: SymNMFNet, sweep: Sweep, scale: float) -> Array | None:
    if not model.family.dense:
        return None
    found: Array = gathered_matrix(sweep).dense() / scale
    return found
