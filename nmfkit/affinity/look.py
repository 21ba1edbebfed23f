"""One pass over the data before neighbours are sought: what is refused, and how large the entries are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nmfkit.blocks import Block
from nmfkit.errors import DataError
from nmfkit.executors.each import Each, serially
from nmfkit.sources.travel import travels
from nmfkit.sources.zarr_write import READ_BYTES

if TYPE_CHECKING:
    from nmfkit.protocols import Source


def largest(source: Source, each: Each, block: int = READ_BYTES) -> float:
    """The size of the largest entry, by blocks of about `block` bytes.

    Raises `DataError` for NaN and infinities, with the place of the first.
    """
    blocks = source.bounds(block)
    spread = each if each is not serially and travels(source) else serially
    return max(spread(_Largest(source), blocks))


@dataclass(frozen=True, eq=False)
class _Largest:
    """The size of the largest entry of a range of rows."""

    source: Source

    def __call__(self, bounds: tuple[int, int]) -> float:
        """The size of the largest entry of these rows."""
        block = self.source.read(*bounds)
        refuse(block, self.source.uri)
        return float(np.abs(block.values).max(initial=0.0))


def refuse(block: Block, uri: str, *, negative: str = "") -> None:
    """Raise `DataError` for NaN, infinities, and negative entries if `negative` says why they will not do."""
    for what, bad, way_out in _faults(block.values, negative):
        if bool(bad.any()):
            at = int(np.argmax(bad.ravel()))
            row, column = block.place(at)
            raise DataError(f"{uri}: {what} at row {row}, column {column}: {way_out}")


def _faults(values: Any, negative: str) -> Iterator[tuple[str, Any, str]]:
    yield "NaN", np.isnan(values), "fill it, or drop its row or column first"
    yield "an infinite value", np.isinf(values), "replace it by a finite one, or drop its row or column"
    if negative:
        yield "a negative entry", values < 0, negative
