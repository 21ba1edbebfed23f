"""The first rows of a source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nmfkit.blocks import Block
    from nmfkit.protocols import Source


@dataclass(frozen=True)
class Head:
    """The first `count` rows of `of`, which end where one of its blocks does."""

    of: Source
    count: int

    row_names = None

    @property
    def uri(self) -> str:
        """Where it came from."""
        return self.of.uri

    @property
    def shape(self) -> tuple[int, int]:
        """(count, n)."""
        return (self.count, self.of.shape[1])

    @property
    def dtype(self) -> Any:
        """That of the source."""
        return self.of.dtype

    @property
    def is_sparse(self) -> bool:
        """Whether blocks are CSR."""
        return self.of.is_sparse

    @property
    def resident(self) -> bool:
        """Whether the source is in memory."""
        return self.of.resident

    @property
    def nnz(self) -> int | None:
        """About as many stored entries as its part of the rows has."""
        return None if self.of.nnz is None else self.of.nnz * self.count // self.of.shape[0]

    @property
    def feature_names(self) -> Any:
        """Names of the columns (n,)."""
        return self.of.feature_names

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """The source's row ranges, as far as they go."""
        return [(lo, min(hi, self.count)) for lo, hi in self.of.bounds(target_bytes) if lo < self.count]

    def read(self, lo: int, hi: int) -> Block:
        """Rows `lo` … `hi`."""
        return self.of.read(lo, hi)
