"""The rows' weights of all components, read once by blocks: sums over all rows, and a sample of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.clustering.agreement import Agreement, agreement
from nmfkit.clustering.assignments import NONE
from nmfkit.errors import StoreError
from nmfkit.protocols import Rows
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
    """What is known of weights (m, r).

    `sums`, `squares` (r,) are over all rows; `dead` counts rows that are all zero, `leads[k]` the rows in which
    component k has the largest mass. `sample` (s, r) are the rows `numbers` (s,). With labels, `mass` (labels, r) is
    the sum of masses and `table` (labels, r) counts the rows by label and leading component. `maps` (h, w, r) are the
    rows as pixels. The mass of component k in a row is its weight times `Layer.scale`. Of a level whose weights are a
    factor, `gram` (r, r) holds the inner products of the columns. `agreement` compares leading components with classes.
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
    gram: Array | None = None
    agreement: Agreement | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the sample is all there is."""
        return len(self.numbers) == self.count


def weigh(result: Result, layers: Sequence[Layer], labels: Labels | None, image: Image | None) -> list[Weights | None]:
    """Go through the factors of the rows once, in bounded memory; None for a layer that has none."""
    m = result.shape[0]
    found = [None if layer.row is None else _Gathering(result, layer, labels, image) for layer in layers]
    step = max(1, WINDOW // (8 * max(1, sum(layer.width for layer in layers))))
    for lo in range(0, m if any(found) else 0, step):
        hi = min(m, lo + step)
        rows = result.state.rows.read(lo, hi)
        for one in found:
            if one is not None:
                one.add(lo, hi, rows)
    return [None if one is None else one.found() for one in found]


class _Gathering:
    """What becomes known of the weights of one layer, block by block."""

    def __init__(self, result: Result, layer: Layer, labels: Labels | None, image: Image | None) -> None:
        self.result, self.layer, self.labels = result, layer, labels
        self.scale = layer.scale
        self.picked = _picked(result.shape[0], layer.rank)
        self.pixels: Array = np.empty(0, np.int64)
        self.small: Image | None = None
        if image:
            self.pixels, self.small = thinned(image, layer.rank)
        self.total = _Total(
            layer.rank, len(labels.names) if labels else 0, coupled=layer.level is not None and layer.chain is None
        )
        self.groups: list[Array] = []
        self.rows: list[Array] = []
        self.dots: list[Array] = []

    def add(self, lo: int, hi: int, rows: Rows) -> None:
        """The rows `lo` … `hi` of all factors."""
        w = self.layer.weigh(np.asarray(rows[str(self.layer.row)], np.float64))
        if not np.isfinite(w).all():
            raise StoreError(f"{self.result.path or 'the run'}: {self.layer.row} holds numbers that are not finite")
        groups = self.total.add(w, w * self.scale, self.labels.codes[lo:hi] if self.labels else None)
        self.groups += [groups] if self.labels else []
        self.rows.append(w[_inside(self.picked, lo, hi)])
        self.dots.append(w[_inside(self.pixels, lo, hi)])

    def found(self) -> Weights:
        """All of it, after the last block."""
        return Weights(
            count=self.result.shape[0],
            **self.total.found(),
            sample=np.concatenate(self.rows),
            numbers=self.picked,
            maps=self.small.arranged(np.concatenate(self.dots)) if self.small else None,
            agreement=self._agreement(),
        )

    def _agreement(self) -> Agreement | None:
        if self.labels is None or not self.labels.classes.names:
            return None
        return agreement(np.concatenate(self.groups), self.labels.classes)


class _Total:
    """Sums that grow by blocks of rows."""

    def __init__(self, rank: int, labels: int, *, coupled: bool) -> None:
        self.sums, self.squares = np.zeros(rank), np.zeros(rank)
        self.leads = np.zeros(rank, np.int64)
        self.dead = 0
        self.mass, self.table = np.zeros((labels, rank)), np.zeros((labels, rank), np.int64)
        self.gram = np.zeros((rank, rank)) if coupled else None

    def add(self, w: Array, mass: Array, codes: Array | None) -> Array:
        """Add rows; returns the leading component of each, −1 where they are all zero."""
        self.sums += w.sum(axis=0)
        self.squares += np.square(w).sum(axis=0)
        alive = w.any(axis=1)
        self.dead += int(np.count_nonzero(~alive))
        leading = np.argmax(mass, axis=1)
        self.leads += np.bincount(leading[alive], minlength=len(self.leads))
        if self.gram is not None:
            self.gram += w.T @ w
        if codes is not None:
            np.add.at(self.mass, codes, mass)
            np.add.at(self.table, (codes[alive], leading[alive]), 1)
        return np.where(alive, leading, NONE)

    def found(self) -> dict[str, Any]:
        labelled = {"mass": self.mass, "table": self.table} if len(self.mass) else {}
        sums = {"sums": self.sums, "squares": self.squares, "dead": self.dead, "leads": self.leads}
        return {**sums, **labelled, "gram": self.gram}


def _picked(m: int, r: int) -> Array:
    """The numbers of the rows in the sample: all of them, or some in step with no period."""
    most = max(1, min(SAMPLE, SAMPLE_CELLS // r))
    numbers = np.arange(m)
    return numbers if m <= most else np.flatnonzero(is_picked(numbers, most / m))


def _inside(numbers: Array, lo: int, hi: int) -> Array:
    first, last = np.searchsorted(numbers, [lo, hi])
    chosen: Array = numbers[first:last] - lo
    return chosen
