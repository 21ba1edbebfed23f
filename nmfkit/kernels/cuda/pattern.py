"""The entries of a CSR pattern in the order of their columns, kept for blocks that stay.

What is kept belongs to the very array of column numbers, and goes when that is gone: an address alone may be given to
another block's array later. So arrays of a block are never written to while they live, and memory that blocks pass
through is a new array for each of them.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nmfkit.kernels.cuda import BLOCK, WARP, Array, c_type, ready
from nmfkit.kernels.gpu import Launch

CHUNKS = 2**16
"""Chunks of stored entries, one for a warp: as many as keep every GPU busy."""
LEAST = 128
"""Entries of a chunk, at least."""
NARROW = 2**31
"""Entries and rows, fewer than which are numbered by int32."""
KEPT = 2**35
"""Bytes that may be kept unless told otherwise: a plan for blocks that stay counts these."""


class Turned(NamedTuple):
    """`order` and `rows` (nnz,) of the entries column by column, and where each column `starts` (n + 1,)."""

    order: Array
    rows: Array
    starts: Array


@dataclass(frozen=True)
class _Entry:
    indices: weakref.ref[Any]
    indptr: weakref.ref[Any]
    turned: Turned


class Kept:
    """Turned patterns that take at most `most` bytes on the GPU.

    Those that come first stay, for sweeps take blocks in one order; a pattern beyond is made anew at each use.
    """

    def __init__(self, most: int = KEPT) -> None:
        self.most = most
        self.entries: dict[tuple[int, ...], _Entry] = {}

    def drop(self) -> None:
        """Give their memory back."""
        self.entries.clear()


class _Present(threading.local):
    """By thread, as each has a queue of its own on the GPU, and what one has in its queue is no other's to read."""

    def __init__(self) -> None:
        self.kept = Kept()


_present = _Present()


@contextmanager
def keeping(kept: Kept) -> Iterator[None]:
    """Within it, the calling thread finds turned patterns in `kept`, and leaves them there.

    A thread that comes after another there has waited for what that has computed.
    """
    before, _present.kept = _present.kept, kept
    try:
        yield
    finally:
        _present.kept = before


def chunk_of(entries: int) -> int:
    """How many entries a warp takes: by their number alone, for sums to repeat."""
    return max(LEAST, -(-entries // CHUNKS))


def sums_bytes(entries: int, width: int) -> int:
    """Bytes of the parts of sums, two for each chunk, of a product with a factor of `width` columns."""
    return 2 * -(-entries // chunk_of(entries)) * width * 8


def warps(count: int) -> int:
    """The threads of so many warps."""
    return WARP * count


def turned(launch: Launch, indices: Array, indptr: Array, n: int) -> Turned:
    """The order of the entries by column, then by row: those of a block that stays are sorted once."""
    key = _key(indices, n)
    found = _present.kept.entries.get(key)
    if found is None or found.indices() is not _owner(indices):
        return _remembered(key, indices, indptr, _sorted(launch, indices, indptr, n))
    if found.indptr() is indptr:
        return found.turned
    # Two runs of rows that differ in empty ones at their ends have the same entries.
    return found.turned._replace(rows=_rows(launch, indptr, found.turned.order))


def _owner(a: Array) -> Any:
    """What lives as long as the numbers in `a`: the array that it is a part of, if that holds the same kind."""
    base = getattr(a, "base", None)
    return base if type(base) is type(a) and base.dtype == a.dtype else a


def _key(indices: Array, n: int) -> tuple[int, ...]:
    owner: Any = _owner(indices)
    part = () if owner is indices else (indices.data.ptr, len(indices))  # type: ignore[attr-defined]  # arrays there have it
    return (id(owner), n, *part)


def _remembered(key: tuple[int, ...], indices: Array, indptr: Array, new: Turned) -> Turned:
    kept, entries = _present.kept, _present.kept.entries
    entries.pop(key, None)
    if sum(map(_size, list(entries.values()))) + _bytes(new) <= kept.most:
        # The collector may call this at any time and from any thread; popping is one step of the interpreter.
        gone = weakref.ref(_owner(indices), lambda _: entries.pop(key, None))
        entries[key] = _Entry(gone, weakref.ref(indptr), new)
    return new


def _size(entry: _Entry) -> int:
    return _bytes(entry.turned)


def _bytes(one: Turned) -> int:
    return sum(int(part.nbytes) for part in one)


def _sorted(launch: Launch, indices: Array, indptr: Array, n: int) -> Turned:
    order = np.argsort(indices, kind="stable")
    columns = np.arange(n + 1, like=indices)
    starts = np.searchsorted(indices[order], columns).astype(np.int64, copy=False)
    wide = max(len(indices), len(indptr)) > NARROW
    order = order.astype(np.int64 if wide else np.int32, copy=False)
    return Turned(order, _rows(launch, indptr, order), starts)


def _rows(launch: Launch, indptr: Array, order: Array) -> Array:
    """The row of each entry, in `order`."""
    entries, chunk = len(order), chunk_of(len(order))
    rows = np.empty_like(order)
    threads = warps(-(-entries // chunk))
    types: dict[str, Any] = {"INDEX": c_type(order.dtype), "REAL": "float"}
    launch(
        "sparse", "row_numbers", threads, BLOCK, ready(indptr, np.int64), len(indptr) - 1, entries, chunk, rows, **types
    )
    return rows[order]
