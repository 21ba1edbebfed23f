"""Row ranges that tile the rows of a matrix."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from nmfkit.sources.csr_parts import Array, Stretch, stretches

Bounds = list[tuple[int, int]]


def even(rows: int, step: int) -> Bounds:
    """Ranges of `step` rows that tile `rows` rows; the last may be shorter."""
    return [(lo, min(lo + step, rows)) for lo in range(0, rows, step)]


def by_bytes(shape: tuple[int, int], itemsize: int, target_bytes: int) -> Bounds:
    """Ranges of about `target_bytes` of a dense matrix, one row at least."""
    return even(shape[0], max(1, target_bytes // (shape[1] * itemsize)))


def by_chunks(shape: tuple[int, int], itemsize: int, chunk_rows: int, target_bytes: int) -> Bounds:
    """Ranges of about `target_bytes` that end where chunks of `chunk_rows` rows do.

    A band of chunks more than four times the target is split inside, although each part then decodes it all.
    """
    wanted = max(1, target_bytes // (shape[1] * itemsize))
    if wanted >= chunk_rows:
        return even(shape[0], wanted // chunk_rows * chunk_rows)
    if chunk_rows <= 4 * wanted:
        return even(shape[0], chunk_rows)
    parts = -(-chunk_rows // wanted)
    step = -(-chunk_rows // parts)
    bands = even(shape[0], chunk_rows)
    return [(lo + a, lo + b) for lo, hi in bands for a, b in even(hi - lo, step)]


def by_entries(indptr: Array, entry_bytes: int, target_bytes: int) -> Bounds:
    """Ranges of about `target_bytes` of a CSR matrix, from its `indptr` (m + 1,); one row at least."""
    return by_stretches(stretches(indptr), entry_bytes, target_bytes)


def by_stretches(indptr: Iterable[Stretch], entry_bytes: int, target_bytes: int) -> Bounds:
    """What `by_entries` gives, of an `indptr` that comes in stretches: memory is that of one, and the edges."""
    target = max(1, target_bytes)
    edges, limit, before, rows = [0], target, 0, 0
    for first, values in indptr:
        rows = first + len(values) - 1
        cost = values.astype(np.int64) * entry_bytes + 4 * np.arange(first, rows + 1, dtype=np.int64)
        while (at := int(np.searchsorted(cost, limit, side="right"))) < len(cost):
            hi = max(first + at - 1, edges[-1] + 1)
            limit = target + (int(cost[hi - first]) if hi >= first else before)
            edges.append(hi)
        before = int(cost[-1])
    return list(pairwise(edges if edges[-1] == rows else [*edges, rows]))
