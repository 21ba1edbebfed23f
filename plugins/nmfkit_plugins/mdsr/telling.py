"""What a fit with given options is made of, in words, and its work."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from nmfkit.executors.plan import size_text
from nmfkit_plugins.mdsr.options import Options
from nmfkit_plugins.mdsr.widths import parameters_in

PER_WEIGHT = 12
"""Multiplications and additions of a step of Adam for each weight: two moments, their correction, and the step."""


def told(options: Options, sizes: Sequence[int], rows: int, columns: int) -> dict[str, str]:
    """The network for N = `columns`, and the batches of `rows` rows."""
    count, (*hidden, last) = parameters_in(sizes, columns), sizes
    widths = f"layers of {', '.join(map(str, hidden))} and {last} units" if hidden else f"one layer of {last} units"
    return {
        "network": f"{widths}, each reads {columns:,} columns",
        "weights": f"{count:,}: {size_text(8 * count)} in float64, as much again for each of Adam's two moments",
        "batches": _batches(options, rows),
    }


def _batches(options: Options, rows: int) -> str:
    if options.full:
        return "all rows at once: one step a sweep"
    size = options.rows(rows)
    steps = -(-rows // size)
    many = "1 batch" if steps == 1 else f"{steps:,} batches"
    return f"{many} of {size:,} rows a sweep, and one read more for W and the loss"


def operations(options: Options, sizes: Sequence[int], rows: int, columns: int, stored: int | None) -> float:
    """Multiplications and additions of an epoch: the steps of its batches, and the pass that makes W and the loss.

    `stored` entries of a sparse Y are read; None where every entry of Y is. Products of W and H are of these, too,
    unless each entry of Ŷ is formed.
    """
    cells = float(rows) * columns
    read = cells if stored is None else float(stored)
    formed = cells if options.output == "relu" or options.checkpoint == "accuracy" else read
    between = rows * sum(a * b for a, b in pairwise(sizes))
    forward = read * sum(sizes) + between
    training = 2 * (2 * read * sum(sizes) + 3 * between + 3 * formed * sizes[-1])
    steps = 1 if options.full else -(-rows // options.rows(rows))
    after = 0.0 if options.full else 2 * (forward + formed * sizes[-1])
    return training + after + PER_WEIGHT * steps * parameters_in(sizes, columns)
