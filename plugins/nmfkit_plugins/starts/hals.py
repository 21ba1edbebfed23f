"""A start from a few sweeps of plain factorization, for models that need to begin near the components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from nmfkit.blocks import Array
from nmfkit.errors import DataError
from nmfkit.probe import Probe
from nmfkit.protocols import Ingredients, RowStore, Sweep
from nmfkit_plugins.beta.divergence import beta_divergence
from nmfkit_plugins.beta.hals import HALS
from nmfkit_plugins.beta.nmf import NMF
from nmfkit_plugins.starts.random import Random


@dataclass(frozen=True)
class Fitted:
    """Factors after so many `sweeps` of rule `hals` on ½ ‖X − WH‖² from init `random`.

    Each sweep reads X once. A missing entry counts as 0 here.
    """

    sweeps: int = 50

    makes_zeros: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.sweeps < 1:
            raise ValueError(f"sweeps must be at least 1, not {self.sweeps}")

    def start(self, sweep: Sweep, probe: Probe, rank: int, seed: int, dtype: Any) -> tuple[RowStore, Array]:
        """Rows {"w": (rows, rank)} and H (rank, n); raises `DataError` where X has negative entries."""
        if probe.low < 0:
            raise DataError(
                f"init 'hals' fits nonnegative factors, and the matrix has negative entries (the lowest is "
                f"{probe.low:.3g}): start from init 'spa', or give starting factors"
            )
        loss, rule = beta_divergence(2.0), HALS(extrapolate=False)
        model = NMF(Ingredients(loss=loss, rule=rule, reg_w=(), reg_h=(), ranks=(rank,)))
        rows, shared = model.start(Random(), sweep, probe, seed, dtype)
        for _ in range(self.sweeps):
            rows, stats = sweep(model.local, rows, shared)
            shared = model.apply(shared, stats)
        return rows, model.factors(shared)["h"]
