"""A matrix in a zarr store whose rows and columns are named in different groups, or the other way round."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nmfkit.sources import names
from nmfkit.sources.through import Through
from nmfkit.sources.zarr_store import Place

if TYPE_CHECKING:
    from nmfkit.blocks import Block


@dataclass(frozen=True)
class ZarrNamed(Through):
    """The blocks of `of`; `rows` is the group that names samples, `features` the one that names features.

    `turned`: `of` is the transpose, so that its rows are the features.
    """

    rows: Place | None
    features: Place | None
    turned: bool = False

    @property
    def dtype(self) -> Any:
        """The dtype of blocks."""
        return self.of.dtype

    @cached_property
    def row_names(self) -> names.Names:
        """Names of the rows (m,), read as they are asked for."""
        return self._features(self.shape[0]) if self.turned else self._samples(self.shape[0])

    @cached_property
    def feature_names(self) -> names.Names:
        """Names of the columns (n,), read as they are asked for."""
        return self._samples(self.shape[1]) if self.turned else self._features(self.shape[1])

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Those of `of`."""
        return self.of.bounds(target_bytes)

    def read(self, lo: int, hi: int) -> Block:
        """Those of `of`."""
        return self.of.read(lo, hi)

    def _samples(self, count: int) -> names.Names:
        return names.row_names(self.rows, count) if self.rows else None

    def _features(self, count: int) -> names.Names:
        return names.feature_names(self.features, count) if self.features else None

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}
