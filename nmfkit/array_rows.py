"""Rows of W in zarr arrays: how they are read where a fit goes on, and written in pieces, by whoever it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import zarr

from nmfkit.executors.each import Each, serially
from nmfkit.protocols import Rows, RowStore
from nmfkit.sources.zarr_store import Place
from nmfkit.sources.zarr_write import create

CHUNK = 8 * 2**20
"""Bytes of a chunk of rows."""


@dataclass(frozen=True)
class ArrayRows:
    """Rows in zarr arrays, by factor; workers open them by themselves."""

    places: dict[str, Place]

    lasting: ClassVar[bool] = False

    def read(self, lo: int, hi: int) -> Rows:
        """The rows `lo` … `hi`."""
        return {name: np.asarray(a[lo:hi]) for name, a in self._arrays.items()}

    def part(self, lo: int, hi: int) -> ArrayRows:
        """These: nothing of them is in memory."""
        del lo, hi
        return self

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        return {name: place.open_array() for name, place in self.places.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {"places": self.places}


def is_result(name: str) -> bool:
    """Whether a row factor is part of a result; one with a dot in its name serves going on alone."""
    return "." not in name


def write_rows(
    group: zarr.Group, rows: RowStore, count: int, each: Each = serially, *, aside: zarr.Group | None = None
) -> None:
    """Write all `count` rows of every factor as arrays of `group`, whole chunks at a time.

    With `aside`, what serves going on alone becomes arrays of that one.
    """
    first = rows.read(0, 1)
    step = max(1, CHUNK // max(1, max(f.shape[1] * f.dtype.itemsize for f in first.values())))
    places = {}
    for name, f in first.items():
        home = group if aside is None or is_result(name) else aside
        if name in home:
            del home[name]
        array = create(home, name, (count, f.shape[1]), (min(step, count), f.shape[1]), f.dtype)
        places[name] = Place.of(array)
    pieces = [(lo, min(count, lo + step)) for lo in range(0, count, step)]
    # Rows in memory go over as they are: views where this process does the work.
    each(CopyRows(places), [(lo, hi, rows.part(lo, hi)) for lo, hi in pieces])


@dataclass(frozen=True)
class CopyRows:
    """Writes rows into arrays that lie at `places`, by factor."""

    places: dict[str, Place]

    def __call__(self, piece: tuple[int, int, RowStore]) -> None:
        """Write the rows `lo` … `hi` from a store that has them."""
        lo, hi, rows = piece
        for name, f in rows.read(lo, hi).items():
            self._arrays[name][lo:hi] = f

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        # Rows of zeros are rows, too: a chunk that is not there counts as lost. Opening forgets what creating was told.
        with zarr.config.set({"array.write_empty_chunks": True}):
            return {name: zarr.open_array(p.writable(), path=p.path, mode="r+") for name, p in self.places.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {"places": self.places}
