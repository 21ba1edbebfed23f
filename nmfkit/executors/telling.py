"""How far a shard is, as its worker tells the client now and then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from distributed import get_worker

from nmfkit.blocks import Block

TELL = 0.25
"""Least seconds between two messages of one shard."""


def topic(run: str) -> str:
    """Where the progress of a fit is told."""
    return f"nmfkit-{run}"


@dataclass
class Telling:
    """Of shard `index` of a sweep, which has `of` rows; `silent` where there is nothing to tell."""

    run: str
    sweep: int
    index: int
    of: int
    silent: bool
    rows: int = 0
    bytes: int = 0
    _untold: int = 0
    _last: float = field(default_factory=time.monotonic)

    def through(self, blocks: Iterator[tuple[int, int, Block]]) -> Iterator[tuple[int, int, Block]]:
        """The same blocks, their rows counted."""
        for lo, hi, block in blocks:
            self.rows += hi - lo
            yield lo, hi, block
            del block

    def block(self, size: int) -> None:
        """A block is done."""
        self.bytes += size
        self._untold += size
        if not self.silent and (self.rows >= self.of or time.monotonic() - self._last > TELL):
            self._tell()

    def _tell(self) -> None:
        worker = get_worker()
        event = {"shard": self.index, "bytes": self._untold, "part": self.rows / self.of, "worker": worker.address}
        worker.log_event(topic(self.run), {**event, "sweep": self.sweep})
        self._last, self._untold = time.monotonic(), 0
