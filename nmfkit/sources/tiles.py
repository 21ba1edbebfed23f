"""Row ranges that tile the rows of a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

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


def by_entries(indptr: npt.NDArray[Any], entry_bytes: int, target_bytes: int) -> Bounds:
    """Ranges of about `target_bytes` of a CSR matrix, from its `indptr` (m + 1,); one row at least."""
    rows = len(indptr) - 1
    cost = indptr.astype(np.int64) * entry_bytes + 4 * np.arange(rows + 1, dtype=np.int64)
    bounds, lo = [], 0
    while lo < rows:
        hi = int(np.searchsorted(cost, cost[lo] + max(1, target_bytes), side="right")) - 1
        hi = min(max(hi, lo + 1), rows)
        bounds.append((lo, hi))
        lo = hi
    return bounds
