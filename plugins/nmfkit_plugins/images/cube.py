"""Images of many bands that lie uncompressed in a file, mapped and read by blocks of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.blocks import Dense
from nmfkit.errors import SourceError
from nmfkit.sources import tiles
from nmfkit.sources.about import About
from nmfkit.sources.checks import block_dtype, in_range, matrix_shape
from nmfkit_plugins.images.no_data import blank

BY_BANDS, BY_LINES, BY_PIXELS = "bsq", "bil", "bip"
"""What lies together: a band, a line of every band, a pixel."""


@dataclass(frozen=True)
class Cube:
    """The pixels × bands of an image of (height, width), which lies in `file` from byte `offset` on.

    `no_data` is the value that stands for none; `missing` "nan" makes it NaN, else it is refused as it is met.
    """

    uri: str
    file: str
    stored: np.dtype[Any]
    offset: int
    order: str
    size: tuple[int, int, int]
    no_data: float | None = None
    missing: str = "none"
    feature_names: tuple[str, ...] | None = None
    about: About | None = None

    is_sparse = False
    resident = False
    nnz = None
    row_names = None

    def __post_init__(self) -> None:
        matrix_shape(self.shape, self.uri)
        held, needed = Path(self.file).stat().st_size, self.offset + prod(self.size) * self.stored.itemsize
        if held < needed:
            raise SourceError(f"{self.file} is cut short: {self._wanted} take {needed:,} bytes, and it has {held:,}")

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels, row by row, × bands."""
        height, width, bands = self.size
        return height * width, bands

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of blocks."""
        return block_dtype(self.stored, None, self.uri)

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Ranges of pixels of about `target_bytes`, of whole lines where they lie together."""
        chunk = self.size[1] if self.order == BY_LINES else 1
        return tiles.by_chunks(self.shape, self.dtype.itemsize, chunk, target_bytes)

    def read(self, lo: int, hi: int) -> Dense:
        """Pixels `lo` … `hi`; raises `SourceError` naming them where they cannot be read."""
        try:
            stored = self._pixels(lo, hi)
        except (OSError, ValueError) as error:
            raise SourceError(f"{self.file}: pixels {lo} … {hi - 1} cannot be read: {error}") from error
        with in_range(stored, self.dtype, self.uri):
            values = np.array(stored, dtype=self.dtype, order="C", subok=False)
        blank(stored, values, self.no_data, missing=self.missing, where=self.uri, first=lo)
        return Dense(values, lo)

    def _pixels(self, lo: int, hi: int) -> npt.NDArray[Any]:
        """A view of the file; mapped anew each time, so that no page of it stays."""
        height, width, bands = self.size
        if self.order == BY_PIXELS:
            return self._mapped((height * width, bands))[lo:hi]
        if self.order == BY_BANDS:
            return self._mapped((bands, height * width))[:, lo:hi].T
        first, last = lo // width, -(-hi // width)
        lines = self._mapped((height, bands, width))[first:last].transpose(0, 2, 1)
        return lines.reshape(-1, bands)[lo - first * width : hi - first * width]

    def _mapped(self, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        mapped: npt.NDArray[Any] = np.memmap(self.file, self.stored, "r", self.offset, shape)
        return mapped

    @property
    def _wanted(self) -> str:
        return f"{' × '.join(map(str, self.size))} numbers ({self.stored}) from byte {self.offset:,} on"
