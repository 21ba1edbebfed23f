"""Arrays as the compiled kernels take them, so that each is compiled for one kind of argument a precision."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

LANES = 16
"""Ranks are padded to a multiple of this, for loops over them to be unrolled without a remainder."""
KEPT = 4
"""Padded copies of unchangeable factors kept at a time."""

_kept: dict[tuple[Any, ...], tuple[weakref.ref[Array], Array]] = {}
_lock = threading.Lock()


def padded_rank(rank: int) -> int:
    """The next multiple of `LANES`."""
    return -(-max(rank, 1) // LANES) * LANES


def frozen(a: Array, dtype: Any = None) -> Array:
    """`a` contiguous and read-only, a view where it can be: numba compiles read-only arguments by themselves."""
    view = np.ascontiguousarray(a, dtype=dtype).view()
    view.flags.writeable = False
    return view


@contextmanager
def flat(a: Array) -> Iterator[Array]:
    """The entries of `a` in one contiguous run, to be written to: `a` itself, or a copy that is copied back."""
    if a.flags.c_contiguous:
        yield a.reshape(-1)
        return
    copy = np.ascontiguousarray(a)
    yield copy.reshape(-1)
    np.copyto(a, copy)


def padded(a: Array, dtype: Any) -> Array:
    """`a` (rows, r) read-only with zero columns up to the padded rank; kept where nobody can change `a`."""
    rank = padded_rank(a.shape[1])
    if a.shape[1] == rank and a.dtype == dtype and a.flags.c_contiguous:
        return frozen(a)
    owner = a.base if isinstance(a.base, np.ndarray) else a
    if a.flags.writeable or owner.flags.writeable:
        return _pad(a, rank, dtype)
    key = (id(owner), a.ctypes.data, a.shape, a.strides, a.dtype, np.dtype(dtype))
    with _lock:  # a second thread waits for the first one's copy rather than making its own
        found = _kept.get(key)
        if found is None or found[0]() is not owner:
            _forget(key)
            # Popping is one step of the interpreter, so the collector may do it at any time, without the lock.
            found = (weakref.ref(owner, lambda _: _kept.pop(key, None)), _pad(a, rank, dtype))
            _kept[key] = found
        return found[1]


def _forget(key: tuple[Any, ...]) -> None:
    """Make room for `key`: the oldest go first."""
    _kept.pop(key, None)
    while len(_kept) >= KEPT:
        _kept.pop(next(iter(_kept), None), None)  # type: ignore[arg-type]


def _pad(a: Array, rank: int, dtype: Any) -> Array:
    wide = np.zeros((a.shape[0], rank), dtype)
    wide[:, : a.shape[1]] = a
    wide.flags.writeable = False
    return wide
