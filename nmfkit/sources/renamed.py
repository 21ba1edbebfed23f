"""A source under another name: the text that it was opened by, where that says more than its path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nmfkit.sources.through import Through

if TYPE_CHECKING:
    from nmfkit.blocks import Block


@dataclass(frozen=True)
class Renamed(Through):
    """All of `of`, found again at `text`."""

    text: str

    @property
    def uri(self) -> str:
        """What opens it again: the reader, its options and the path."""
        return self.text

    @property
    def dtype(self) -> Any:
        """The dtype of blocks."""
        return self.of.dtype

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Those of `of`."""
        return self.of.bounds(target_bytes)

    def read(self, lo: int, hi: int) -> Block:
        """Those of `of`."""
        return self.of.read(lo, hi)
