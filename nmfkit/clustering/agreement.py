"""How well two groupings of the same things agree, from the table that counts the things by both.

Rows of a table are classes, columns are clusters. None of the measures depends on how either is numbered.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.clustering.assignments import NONE
from nmfkit.clustering.classes import Classes, classes_of
from nmfkit.clustering.expected import expected_information
from nmfkit.errors import UsageError

ROUNDING = 1e-12
"""What is left of entropies that are equal, to their size."""


@dataclass(frozen=True)
class Agreement:
    """The agreement of clusters with known classes, each measure 1 where they are the same grouping.

    `accuracy` is the part of the things in the class that their cluster is matched to, `nmi` the mutual information
    over the arithmetic mean of the entropies, `ari` the adjusted Rand index, 0 as by chance, `purity` the part whose
    class is the most frequent one of their cluster, `ami` the mutual information less that of chance, 0 as by chance.
    `compared` things have a class, `unlabelled` ones have none and are left out. `unclustered` of those compared are in
    no cluster: they count as one of their own.
    """

    accuracy: float
    nmi: float
    ari: float
    purity: float
    ami: float
    compared: int
    unlabelled: int
    unclustered: int
    classes: int
    clusters: int
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return asdict(self)


def agreement(labels: Any, classes: Any) -> Agreement:
    """Compare `labels` (m,), whole numbers with −1 for none, with `classes`, an array (m,) or what `classes_of` gives.

    Raises `UsageError` where the lengths differ, or where nothing has a class.
    """
    found = np.asarray(labels)
    known = classes if isinstance(classes, Classes) else classes_of(classes, len(found))
    if found.ndim != 1 or len(found) != len(known.codes):
        raise UsageError(f"labels have the shape {found.shape}, and there are {len(known.codes):,} classes")
    there = known.codes >= 0
    if not there.any():
        raise UsageError(f"none of the {len(found):,} rows has a class, so there is nothing to compare with")
    table = contingency(known.codes[there], found[there])
    return Agreement(
        accuracy=accuracy(table),
        nmi=mutual_information(table),
        ari=adjusted_rand(table),
        purity=purity(table),
        ami=adjusted_information(table),
        compared=int(table.sum()),
        unlabelled=int(np.count_nonzero(~there)),
        unclustered=int(np.count_nonzero(found[there] == NONE)),
        classes=table.shape[0],
        clusters=len(np.unique(found[there & (found != NONE)])),
        notes=known.notes,
    )


def contingency(classes: Array, clusters: Array) -> Array:
    """The table (classes, clusters) that counts the things in each pair, of those that occur."""
    (rows, i), (columns, j) = (np.unique(one, return_inverse=True) for one in (classes, clusters))
    counts = np.bincount(i * len(columns) + j, minlength=len(rows) * len(columns))
    return counts.reshape(len(rows), len(columns))


def accuracy(table: Array) -> float:
    """Part of the things in the class that their cluster is matched to, one class a cluster, as well as can be.

    The matching is the assignment of most things (Kuhn, Naval Research Logistics Quarterly 2, 1955); where there are
    more clusters than classes, those left over match none.
    """
    from scipy.optimize import linear_sum_assignment

    matched = linear_sum_assignment(table, maximize=True)
    return float(table[matched].sum() / table.sum())


def mutual_information(table: Array) -> float:
    """2 I(C; K) / (H(C) + H(K)), normalized by the arithmetic mean; 1 where both are one group.

    Strehl & Ghosh, Journal of Machine Learning Research 3, 2002, normalize by the geometric mean.
    """
    p = table / table.sum()
    mean = (_entropy(p.sum(axis=1)) + _entropy(p.sum(axis=0))) / 2
    shared = 2 * mean - _entropy(p.ravel())
    return 1.0 if mean == 0 else float(np.clip(shared / mean, 0, 1))


def adjusted_information(table: Array) -> float:
    """(I − E) / (mean of H(C) and H(K) − E), E the mutual information I by chance: 1 if equal, 0 as by chance.

    Vinh, Epps & Bailey, Journal of Machine Learning Research 11, 2010, with the arithmetic mean; 1 where both put
    everything into one group, or each thing into one of its own.
    """
    p = table / table.sum()
    mean = (_entropy(p.sum(axis=1)) + _entropy(p.sum(axis=0))) / 2
    by_chance = expected_information(table)
    if mean - by_chance <= ROUNDING * mean:
        return 1.0
    return (2 * mean - _entropy(p.ravel()) - by_chance) / (mean - by_chance)


def _entropy(p: Array) -> float:
    some = p[p > 0]
    return -float(np.sum(some * np.log(some)))


def purity(table: Array) -> float:
    """Part of the things whose class is the most frequent one of their cluster; NaN of none."""
    total = int(table.sum())
    return float(table.max(axis=0).sum() / total) if total else float("nan")


def adjusted_rand(table: Array) -> float:
    """The adjusted Rand index of the two partitions that `table` crosses: 1 if they are equal, 0 as by chance.

    Hubert & Arabie, Journal of Classification 2, 1985; 1 where both put everything into one group.
    """
    wide = table.astype(np.float64)
    together, rows, columns, total = (
        float(np.sum(n * (n - 1) / 2)) for n in (wide, wide.sum(axis=1), wide.sum(axis=0), wide.sum())
    )
    expected = rows * columns / total if total else 0.0
    most = (rows + columns) / 2
    return 1.0 if most == expected else (together - expected) / (most - expected)
