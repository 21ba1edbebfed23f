"""A source that shows another one changed in one respect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nmfkit.sources.about import About, about_of

if TYPE_CHECKING:
    from nmfkit.protocols import Source


@dataclass(frozen=True)
class Through:
    """All of `of` that subclasses do not change; they say what `dtype` is, and how it is read."""

    of: Source

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
        """Whether reading costs nothing."""
        return self.of.resident

    @property
    def row_names(self) -> Sequence[str] | None:
        """Names of the rows (m,)."""
        return self.of.row_names

    @property
    def feature_names(self) -> Sequence[str] | None:
        """Names of the columns (n,)."""
        return self.of.feature_names

    @property
    def about(self) -> About | None:
        """What rows and features are, where `of` knows."""
        return about_of(self.of)
