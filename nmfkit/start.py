"""Starting from given factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import UsageError
from nmfkit.executors.rows import ResidentRows
from nmfkit.probe import Probe
from nmfkit.problem import part_text
from nmfkit.protocols import RowStore, Sweep


@dataclass(frozen=True)
class Given:
    """Starting factors as given: `w` (m, r), `h` (r, n); the missing one comes from `other`, an `Initializer`.

    `other` is None where the model takes none, which `refuse_unused` is for.
    Where the problem has several `layers`, they are those of the first one; entries of `h` may be negative if `signed`.
    """

    w: Array | None
    h: Array | None
    other: Any
    layers: int = 1
    signed: bool = False

    makes_zeros: ClassVar[bool] = False

    def start(self, sweep: Sweep, probe: Probe, rank: int, seed: int, dtype: Any) -> tuple[RowStore, Array]:
        """Rows {"w": (rows, rank)} and H (rank, n); raises `UsageError` where a shape or an entry does not fit."""
        m, n = probe.shape
        faults = self._faults("w", self.w, (m, rank)) + self._faults("h", self.h, (rank, n), signed=self.signed)
        if faults:
            raise UsageError("; ".join(faults))
        rows, h = self._others(sweep, probe, rank, seed, dtype)
        if self.w is not None:
            rows = ResidentRows({"w": np.asarray(self.w, dtype=dtype)})
        assert rows is not None
        return rows, np.asarray(h if self.h is None else self.h, dtype=dtype)

    def _others(self, sweep: Sweep, probe: Probe, rank: int, seed: int, dtype: Any) -> tuple[RowStore | None, Any]:
        """The factors of the other initializer, where it is needed."""
        if self.w is not None and self.h is not None:
            return None, None
        found: tuple[RowStore, Array] = self.other.start(sweep, probe, rank, seed, dtype)
        return found

    def refuse_unused(self, model: Any) -> None:
        """Raise `UsageError` where the problem's `model` takes no initializer: it would pass over these."""
        if self.other is None and (self.w is not None or self.h is not None):
            raise UsageError(f"model {part_text(model)!r} fixes its own starting point: leave starting factors out")

    def _faults(self, name: str, factor: Array | None, shape: tuple[int, int], *, signed: bool = False) -> list[str]:
        if factor is None:
            return []
        if np.shape(factor) != shape:
            first = ": starting factors are those of the first layer" if self.layers > 1 else ""
            return [f"starting factor {name} has shape {np.shape(factor)}, and the problem needs {shape}{first}"]
        if not isinstance(factor, np.ndarray) or factor.dtype.kind not in "fiub":
            return [f"starting factor {name} is no real NumPy array but {type(factor).__name__}"]
        low = float(np.min(factor))
        if not np.any(factor):
            return [f"starting factor {name} is all zero, which no rule can leave"]
        if not np.isfinite([low, np.max(factor)]).all() or (low < 0 and not signed):
            return [f"starting factor {name} holds negative or non-finite entries"]
        return []
