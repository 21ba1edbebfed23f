"""Any source with blocks of another dtype."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nmfkit.sources.checks import in_range

if TYPE_CHECKING:
    from nmfkit.blocks import Block
    from nmfkit.protocols import Source


@dataclass(frozen=True)
class Cast:
    """The blocks of `of` as `dtype`; everything else as it is."""

    of: Source
    dtype: Any

    @property
    def uri(self) -> str:
        """Where it came from."""
        return self.of.uri

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n)."""
        return self.of.shape

    @property
    def is_sparse(self) -> bool:
        """Whether blocks are CSR."""
        return self.of.is_sparse

    @property
    def nnz(self) -> int | None:
        """Stored entries of a sparse source."""
        return self.of.nnz

    @property
    def resident(self) -> bool:
        """False: every read makes a copy."""
        return False

    @property
    def row_names(self) -> Sequence[str] | None:
        """Names of the rows (m,)."""
        return self.of.row_names

    @property
    def feature_names(self) -> Sequence[str] | None:
        """Names of the columns (n,)."""
        return self.of.feature_names

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Row ranges of about `target_bytes` after the cast."""
        return self.of.bounds(max(1, target_bytes * self.of.dtype.itemsize // self.dtype.itemsize))

    def read(self, lo: int, hi: int) -> Block:
        """Rows `lo` … `hi` in the other dtype."""
        block = self.of.read(lo, hi)
        with in_range(block.values, self.dtype, self.uri):
            return block.like(block.values.astype(self.dtype, copy=False))
