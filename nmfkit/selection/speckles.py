"""A mask of random speckles: entries that a fit does not see, drawn anew wherever they are asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array, Dense
from nmfkit.errors import UsageError
from nmfkit.sources import tiles
from nmfkit.sources.through import Through

MOST = 0.5
"""The largest share that may be hidden: with more, the fit is judged by what it has hardly seen."""
CELLS = 2**20
"""Entries of the rows that are drawn at a time."""
SPARE = 10.0
"""Gaps drawn beyond the number expected in a row, in standard deviations: no row ever runs out of them."""


@dataclass(frozen=True)
class Speckles:
    """An m × n matrix of ones, in which each entry is 0 with probability `share`, independent of all others.

    Row i is drawn from a counter-based generator (Philox) whose counter begins at a place of row i's own: it is the
    same however the rows are cut into blocks, in every process. Between two hidden entries of a row lie geometric
    gaps, so that the work grows with the hidden entries alone. `seed` and `number` choose the pattern. Raises
    `UsageError` unless 0 < share ≤ 0.5.
    """

    shape: tuple[int, int]
    share: float
    seed: int = 0
    number: int = 0

    dtype: ClassVar[Any] = np.dtype(np.float32)
    is_sparse: ClassVar[bool] = False
    resident: ClassVar[bool] = False
    nnz: ClassVar[int | None] = None
    row_names: ClassVar[Sequence[str] | None] = None
    feature_names: ClassVar[Sequence[str] | None] = None

    def __post_init__(self) -> None:
        if not 0 < self.share <= MOST:
            raise UsageError(f"share {self.share!r} is not a number > 0 and ≤ {MOST}")

    @property
    def uri(self) -> str:
        """`speckles:` and what they are drawn from."""
        return f"speckles:share={self.share!r},seed={self.seed},number={self.number}"

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Row ranges of about `target_bytes` each."""
        return tiles.by_bytes(self.shape, self.dtype.itemsize, target_bytes)

    def read(self, lo: int, hi: int) -> Dense:
        """Rows `lo` … `hi`: 0 where an entry is hidden, else 1."""
        ones = np.ones((hi - lo, self.shape[1]), self.dtype)
        rows, columns = self.hidden(lo, hi)
        ones[rows, columns] = 0
        return Dense(ones, lo)

    def hidden(self, lo: int, hi: int) -> tuple[Array, Array]:
        """The hidden entries of rows `lo` … `hi`, along the rows: row numbers counted from `lo`, and columns."""
        step = max(1, CELLS // self._gaps)
        parts = [self._drawn(a, min(a + step, hi)) for a in range(lo, hi, step)]
        if not parts:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        rows = np.concatenate([rows + i * step for i, (rows, _) in enumerate(parts)])
        return rows, np.concatenate([columns for _, columns in parts])

    @property
    def _gaps(self) -> int:
        """Gaps drawn for each row, a multiple of the four numbers that one count of the generator gives."""
        mean = self.shape[1] * self.share
        return 4 * math.ceil((mean + SPARE * math.sqrt(mean) + SPARE) / 4)

    def _drawn(self, lo: int, hi: int) -> tuple[Array, Array]:
        gaps, n = self._gaps, self.shape[1]
        key = np.random.SeedSequence([self.seed, self.number]).generate_state(2, np.uint64)
        bits = np.random.Philox(key=key, counter=lo * (gaps // 4))
        uniform = np.random.Generator(bits).random((hi - lo, gaps))
        # P(gap > g) = (1 − share)^g for g = 0, 1, …: ln u / ln(1 − share), rounded down, entries lie between two.
        between = np.floor(np.log1p(-uniform) / math.log1p(-self.share))
        at = np.cumsum(np.minimum(between, n) + 1, axis=1) - 1
        rows, places = np.nonzero(at < n)
        return rows, at[rows, places].astype(np.int64)


@dataclass(frozen=True)
class Within(Through):
    """The mask `of` with further entries hidden, those of `speckles`."""

    speckles: Speckles

    dtype: ClassVar[Any] = Speckles.dtype
    is_sparse: ClassVar[bool] = False
    resident: ClassVar[bool] = False
    nnz: ClassVar[int | None] = None

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Row ranges of about `target_bytes` each."""
        return self.speckles.bounds(target_bytes)

    def read(self, lo: int, hi: int) -> Dense:
        """Rows `lo` … `hi`: 0 where either mask hides an entry."""
        block = self.speckles.read(lo, hi)
        return block.like(block.values * (self.of.read(lo, hi).dense() != 0))
