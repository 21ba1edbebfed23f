"""How far the leading components of the samples agree with their labels."""

from __future__ import annotations

import numpy as np

from nmfkit.blocks import Array


def purity(table: Array) -> float:
    """Part of the samples whose label is the most frequent one of their leading component.

    `table` (labels, r) counts the samples by both.
    """
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
