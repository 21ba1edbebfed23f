"""A short text that tells whether a source still holds the same data."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from nmfkit.blocks import CSR, Block

if TYPE_CHECKING:
    from nmfkit.protocols import Source

EDGE_ROWS = 4
"""Rows hashed at each end: few, so that it costs two block reads however large the matrix."""


def fingerprint(source: Source) -> str:
    """Shape, dtype, entries and a hash of the first and last rows, e.g. `1797x64 float64 dense 3f0a…`.

    It does not depend on where the source lies nor on how it is cut into blocks; it notices another shape and
    other rows at either end, not a change in the middle.
    """
    m, n = source.shape
    digest = hashlib.sha256()
    for lo, hi in ((0, min(EDGE_ROWS, m)), (max(0, m - EDGE_ROWS), m)):
        _feed(digest, source.read(lo, hi))
    kind = f"nnz={source.nnz}" if source.is_sparse else "dense"
    return f"{m}x{n} {np.dtype(source.dtype).name} {kind} {digest.hexdigest()[:16]}"


def _feed(digest: hashlib._Hash, block: Block) -> None:
    digest.update(np.ascontiguousarray(block.values).tobytes())
    if isinstance(block, CSR):
        digest.update(block.indices.astype(np.int64).tobytes())
        digest.update(block.indptr.astype(np.int64).tobytes())
