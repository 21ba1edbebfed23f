"""Rows of W that workers keep in the run store, one blob a block, written once and never changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array
from nmfkit.executors.blobs import Blobs
from nmfkit.protocols import Rows


@dataclass(frozen=True, eq=False)
class BlockRows:
    """All rows after one sweep, its `generation`; block i holds the rows `edges[i]` … `edges[i + 1]`."""

    blobs: Blobs
    generation: str
    edges: Array

    lasting: ClassVar[bool] = False

    def read(self, lo: int, hi: int) -> Rows:
        """The rows `lo` … `hi` of every factor; raises `StoreError` where they are missing or damaged."""
        first = int(np.searchsorted(self.edges, lo, side="right")) - 1
        last = int(np.searchsorted(self.edges, max(hi, lo + 1), side="left"))
        pieces = []
        for i in range(first, last):
            start = int(self.edges[i])
            rows = self._block(start)
            pieces.append({name: f[max(0, lo - start) : hi - start] for name, f in rows.items()})
        if len(pieces) == 1:
            return pieces[0]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    def part(self, lo: int, hi: int) -> BlockRows:
        """The same rows, with the edges of `lo` … `hi` only."""
        first = int(np.searchsorted(self.edges, lo, side="right")) - 1
        last = int(np.searchsorted(self.edges, hi, side="left"))
        return BlockRows(self.blobs, self.generation, self.edges[first : last + 1])

    def _block(self, start: int) -> Rows:
        """The rows of the block that begins at `start`; the last one is kept, as tiles come one after the other."""
        kept: tuple[int, Rows] | None = self.__dict__.get("_last")
        if kept is None or kept[0] != start:
            kept = (start, self.blobs.get_rows(blob_name(self.generation, start)))
            self.__dict__["_last"] = kept
        return kept[1]

    def __getstate__(self) -> dict[str, Any]:
        return {"blobs": self.blobs, "generation": self.generation, "edges": self.edges}


class BlockWriter:
    """Collects the tiles of a block, and writes each block as a blob of `generation`."""

    def __init__(self, blobs: Blobs | None, generation: str) -> None:
        self._blobs, self._generation = blobs, generation
        self._tiles: list[Rows] = []
        self.names: tuple[str, ...] = ()

    def write(self, lo: int, rows: Rows) -> None:
        """Take the rows of the next tile."""
        del lo
        if rows:
            self._tiles.append(rows)

    def block(self, lo: int, hi: int) -> None:
        """Write the rows `lo` … `hi`, all of whose tiles have come."""
        del hi
        if not self._tiles:
            return
        names = tuple(sorted(self._tiles[0]))
        whole = {name: np.concatenate([tile[name] for tile in self._tiles]) for name in names}
        assert self._blobs is not None, "a sweep that makes rows needs a place for them"
        self._blobs.put_rows(blob_name(self._generation, lo), whole)
        self.names, self._tiles = names, []


def blob_name(generation: str, start: int) -> str:
    """The name of the blob with the rows from `start` on."""
    return f"rows/{generation}/{start}"
