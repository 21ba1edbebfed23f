"""Starting from given factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import UsageError
from nmfkit.executors.rows import ResidentRows
from nmfkit.probe import Probe
from nmfkit.protocols import Initializer, RowStore, Sweep


@dataclass(frozen=True)
class Given:
    """Starting factors as given: `w` (m, r), `h` (r, n); the missing one comes from `other`."""

    w: Array | None
    h: Array | None
    other: Initializer

    makes_zeros: ClassVar[bool] = False

    def start(self, sweep: Sweep, probe: Probe, rank: int, seed: int, dtype: Any) -> tuple[RowStore, Array]:
        """Rows {"w": (rows, rank)} and H (rank, n); raises `UsageError` where a shape or an entry does not fit."""
        m, n = probe.shape
        faults = _faults("w", self.w, (m, rank)) + _faults("h", self.h, (rank, n))
        if faults:
            raise UsageError("; ".join(faults))
        rows, h = (
            (None, self.h)
            if self.w is not None and self.h is not None
            else self.other.start(sweep, probe, rank, seed, dtype)
        )
        if self.w is not None:
            rows = ResidentRows({"w": np.asarray(self.w, dtype=dtype)})
        assert rows is not None
        return rows, np.asarray(h if self.h is None else self.h, dtype=dtype)


def _faults(name: str, factor: Array | None, shape: tuple[int, int]) -> list[str]:
    if factor is None:
        return []
    if np.shape(factor) != shape:
        return [f"starting factor {name} has shape {np.shape(factor)}, and the problem needs {shape}"]
    if not isinstance(factor, np.ndarray) or factor.dtype.kind not in "fiub":
        return [f"starting factor {name} is no real NumPy array but {type(factor).__name__}"]
    low = float(np.min(factor))
    if not np.any(factor):
        return [f"starting factor {name} is all zero, which no rule can leave"]
    if not (low >= 0 and np.isfinite(np.max(factor))):
        return [f"starting factor {name} holds negative or non-finite entries"]
    return []
