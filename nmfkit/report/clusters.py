"""The groups of a symmetric model, and its matrix with the rows of each group together: one more read of the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nmfkit.blocks import CSR, Array, Block
from nmfkit.check import resolve
from nmfkit.clustering.assignments import NONE
from nmfkit.executors.machine import Machine
from nmfkit.executors.open import executing
from nmfkit.loop import Watcher
from nmfkit.origin import reopen
from nmfkit.protocols import Rows, Shared, Stats
from nmfkit.result import Result

SIDE = 300
"""Cells of a side of the picture at most."""
CELLS = 2**18
"""Entries that are added up at a time."""

There = tuple[Any, str | None, Mapping[str, Any] | None, Machine, Watcher]
"""The data, where they are named, the key in them, storage options, and where and before whom they are read."""


@dataclass(frozen=True)
class Clusters:
    """Groups by number shown, from 0; −1 for rows without one.

    `sizes` (r,) counts the members, `alone` the rows without a group, `members[k]` has those of group k, the strongest
    first. `picture` (s, s) is the mean similarity in each cell of the matrix whose rows stand by group, then by
    strength, the groups beginning at `edges` (in cells); `inside` (r,) is the part of all similarity of a group's
    members, the sum of entries above 0, that stays in it. Both are None where the data are not at hand.
    """

    sizes: Array
    alone: int
    members: list[Array] = field(repr=False)
    edges: Array = field(repr=False)
    picture: Array | None = field(default=None, repr=False)
    inside: Array | None = field(default=None, repr=False)


def clusters(result: Result, order: Array, v: Array, there: There | None) -> Clusters:
    """The groups of a result whose components v (r, n) are shown in this `order`; without `there`, no picture."""
    rank, m = len(order), result.shape[0]
    shown = np.full(rank + 1, NONE)
    shown[order] = np.arange(rank)
    labels = shown[result.labels]
    strength = np.where(labels == NONE, 0, v[labels, np.arange(m)])
    last = np.where(labels == NONE, rank, labels)
    rows = np.lexsort((-strength, last))
    sizes = np.bincount(last, minlength=rank + 1)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    members = [rows[starts[k] : starts[k + 1]] for k in range(rank)]
    side = min(m, SIDE)
    made = Clusters(sizes[:rank], int(sizes[rank]), members, starts[:-1] * side / m)
    return made if there is None else _drawn(made, result, rows, last, side, there)


def _drawn(made: Clusters, result: Result, rows: Array, last: Array, side: int, there: There) -> Clusters:
    m, groups = len(rows), len(made.sizes) + 1
    cell = np.empty(m, np.int64)
    cell[rows] = np.arange(m) * side // m
    x, key, options, machine, watcher = there
    source = reopen(result.attributes["source"], x, key, result.problem, options)
    with executing(
        source, resolve(result.problem), machine.without_gpu, out=result.path, options=options, watcher=watcher
    ) as executor:
        watcher.stage("clusters")
        _, found = executor.sweep(Crossed(cell, last, side, groups), None, {})
    counts = np.bincount(cell, minlength=side)
    total = np.sum(found["groups"], axis=1)
    inside = np.divide(np.diag(found["groups"]), total, out=np.full(groups, np.nan), where=total > 0)
    return Clusters(
        made.sizes, made.alone, made.members, made.edges, found["cells"] / np.outer(counts, counts), inside[:-1]
    )


@dataclass(frozen=True)
class Crossed:
    """The step of that sweep: the entries added up by the cells (s, s) of a picture, and those above 0 by groups."""

    cell: Array
    group: Array
    cells: int
    groups: int

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """The sums of a block of rows."""
        del rows, shared
        here = slice(x.first, x.first + x.shape[0])
        alike = x.like(np.maximum(x.values, 0))
        return {}, {
            "cells": crossed(x, self.cell[here], self.cell, self.cells),
            "groups": crossed(alike, self.group[here], self.group, self.groups),
        }


def crossed(x: Block, rows: Array, columns: Array, count: int) -> Array:
    """The sums (count, count) of the entries of x whose rows and columns have these codes."""
    if isinstance(x, CSR):
        pairs = np.repeat(rows, np.diff(x.indptr)) * count + columns[x.indices]
        return np.bincount(pairs, x.values, minlength=count * count).reshape(count, count)
    values, total = x.dense(), np.zeros((count, count))
    order = np.argsort(columns, kind="stable")
    present, starts = np.unique(columns[order], return_index=True)
    step = max(1, CELLS // values.shape[1])
    for lo in range(0, len(values), step):
        sums = np.add.reduceat(values[lo : lo + step, order], starts, axis=1, dtype=np.float64)
        np.add.at(total, (rows[lo : lo + step, None], present[None, :]), sums)
    return total
