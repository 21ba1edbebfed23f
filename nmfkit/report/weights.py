"""The rows' weights of all components, read once by blocks: sums over all rows, and a sample of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import StoreError
from nmfkit.report.labels import Labels
from nmfkit.report.layers import Layer
from nmfkit.report.thinned import Image, thinned
from nmfkit.result import Result
from nmfkit.sample import is_picked

WINDOW = 8 * 2**20
"""Bytes of W that are read at once."""
SAMPLE = 3000
"""Rows that pictures of samples show at most."""
SAMPLE_CELLS = 3_000_000
"""Entries of W in those rows at most."""


@dataclass(frozen=True)
class Weights:
    """What is known of a factor (m, r).

    `sums`, `squares` (r,) are over all rows; `dead` counts rows that are all zero, `leads[k]` the rows in which
    component k has the largest mass. `sample` (s, r) are the rows `numbers` (s,). With labels, `mass` (labels, r) is
    the sum of masses and `table` (labels, r) counts the rows by label and leading component. `maps` (h, w, r) are the
    rows as pixels. The mass of component k in a row is its weight times the sum of the component's entries.
    """

    count: int
    sums: Array
    squares: Array
    dead: int
    leads: Array
    sample: Array = field(repr=False)
    numbers: Array = field(repr=False)
    mass: Array | None = None
    table: Array | None = None
    maps: Array | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the sample is all there is."""
        return len(self.numbers) == self.count


def weigh(result: Result, layer: Layer, labels: Labels | None, image: Image | None) -> Weights | None:
    """Go through the factor of the rows once, in bounded memory; None where the layer has none."""
    if layer.row is None:
        return None
    m, r = result.shape[0], layer.rank
    scale = np.sum(layer.v, axis=1, dtype=np.float64)
    picked = _picked(m, r)
    pixels, small = thinned(image, r) if image else (np.empty(0, np.int64), None)
    total = _Total(r, len(labels.names) if labels else 0)
    rows, dots = [], []
    step = max(1, WINDOW // (8 * r))
    for lo in range(0, m, step):
        hi = min(m, lo + step)
        w = np.asarray(result.state.rows.read(lo, hi)[layer.row], np.float64)
        if not np.isfinite(w).all():
            raise StoreError(f"{result.path or 'the run'}: {layer.row} holds numbers that are not finite")
        total.add(w, w * scale, labels.codes[lo:hi] if labels else None)
        rows.append(w[_inside(picked, lo, hi)])
        dots.append(w[_inside(pixels, lo, hi)])
    return Weights(
        count=m,
        **total.found(),
        sample=np.concatenate(rows),
        numbers=picked,
        maps=small.arranged(np.concatenate(dots)) if small else None,
    )


class _Total:
    """Sums that grow by blocks of rows."""

    def __init__(self, rank: int, labels: int) -> None:
        self.sums, self.squares = np.zeros(rank), np.zeros(rank)
        self.leads = np.zeros(rank, np.int64)
        self.dead = 0
        self.mass, self.table = np.zeros((labels, rank)), np.zeros((labels, rank), np.int64)

    def add(self, w: Array, mass: Array, codes: Array | None) -> None:
        self.sums += w.sum(axis=0)
        self.squares += np.square(w).sum(axis=0)
        alive = w.any(axis=1)
        self.dead += int(np.count_nonzero(~alive))
        leading = np.argmax(mass, axis=1)
        self.leads += np.bincount(leading[alive], minlength=len(self.leads))
        if codes is not None:
            np.add.at(self.mass, codes, mass)
            np.add.at(self.table, (codes[alive], leading[alive]), 1)

    def found(self) -> dict[str, Any]:
        labelled = {"mass": self.mass, "table": self.table} if len(self.mass) else {}
        return {"sums": self.sums, "squares": self.squares, "dead": self.dead, "leads": self.leads, **labelled}


def _picked(m: int, r: int) -> Array:
    """The numbers of the rows in the sample: all of them, or some in step with no period."""
    most = max(1, min(SAMPLE, SAMPLE_CELLS // r))
    numbers = np.arange(m)
    return numbers if m <= most else np.flatnonzero(is_picked(numbers, most / m))


def _inside(numbers: Array, lo: int, hi: int) -> Array:
    first, last = np.searchsorted(numbers, [lo, hi])
    chosen: Array = numbers[first:last] - lo
    return chosen
