"""Any source with blocks of another dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nmfkit.sources.checks import in_range
from nmfkit.sources.through import Through

if TYPE_CHECKING:
    from nmfkit.blocks import Block


@dataclass(frozen=True)
class Cast(Through):
    """The blocks of `of` as `dtype`; everything else as it is."""

    dtype: Any

    @property
    def resident(self) -> bool:
        """False: every read makes a copy."""
        return False

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Row ranges of about `target_bytes` after the cast."""
        return self.of.bounds(max(1, target_bytes * self.of.dtype.itemsize // self.dtype.itemsize))

    def read(self, lo: int, hi: int) -> Block:
        """Rows `lo` … `hi` in the other dtype."""
        block = self.of.read(lo, hi)
        with in_range(block.values, self.dtype, self.uri):
            return block.like(block.values.astype(self.dtype, copy=False))
