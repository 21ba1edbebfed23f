"""Lets the C library keep memory that it is about to need again."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's mallopt(3)."""
KEEP = 2**25
"""Bytes up to which a temporary array comes from the heap: the largest value that glibc allows."""


def keep_freed_memory() -> None:
    """Undo what dask asks of the allocator of its workers: to give every freed page back at once.

    A trim threshold set by hand (dask sets MALLOC_TRIM_THRESHOLD_) also freezes the size from which arrays are mapped
    anew, at 128 KiB, and each temporary of a step then costs its page faults again. Set as glibc itself would after a
    few such arrays. Nothing where there is no glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, KEEP)
    mallopt(M_TRIM_THRESHOLD, 2 * KEEP)
