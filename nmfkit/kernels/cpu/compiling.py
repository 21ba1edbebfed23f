"""How kernels are compiled: cached on disk, without the interpreter lock, and announced where it takes a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any

from numba import njit
from numba.core import event

REDUCING = {"reassoc", "contract", "arcp", "nsz"}
"""Sums in any order. Never `nnan` or `ninf`: what is not finite must come out so."""
STEADY = {"contract", "nsz"}
"""For formulas whose order of operations keeps them from overflowing."""
PATIENCE = 0.3
"""Seconds of compiling before anybody is told."""


COMPILE: dict[str, Any] = {"nogil": True, "fastmath": REDUCING, "error_model": "numpy"}
INLINE: Any = {**COMPILE, "fastmath": STEADY, "forceinline": True}


def compiled(function: Callable[..., Any]) -> Any:
    """`function` compiled for each kind of arguments at its first call."""
    try:
        return njit(cache=True, **COMPILE)(function)
    except RuntimeError:  # no folder that numba may write to
        return njit(**COMPILE)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """`function` as a part of the compiled ones, with its operations in the order written."""
    return njit(**INLINE)(function)


def reducing(function: Callable[..., Any]) -> Any:
    """`function` as a part of the compiled ones, with its sums in any order."""
    return njit(forceinline=True, **COMPILE)(function)


def per_constant(factory: Callable[..., Any]) -> Callable[..., Any]:
    """`factory` called once for each constant, by whichever thread comes first.

    Numba keeps a function's closed-over constants in the name of its file, so each lies on disk by itself.
    """
    cached, lock = lru_cache(maxsize=None)(factory), threading.Lock()

    @wraps(factory)
    def once(*constants: Any) -> Any:
        with lock:
            return cached(*constants)

    return once


class _Announcer(event.Listener):
    """Tells `nmfkit.kernels.on_compile`, once for each callback, when compiling has taken `PATIENCE` in all.

    Numba compiles under one lock for all threads, so starts and ends of these events nest and never cross;
    the callback runs in a thread of its own and outside that lock.
    """

    def __init__(self) -> None:
        self._depth, self._spent, self._began = 0, 0.0, 0.0
        self._timer: threading.Timer | None = None
        self._told: Any = None
        self._lock = threading.Lock()

    def on_start(self, event: Any) -> None:
        """A function begins to be compiled; for the outermost of ours the clock starts."""
        self._depth += 1
        if self._depth == 1 and event.data["dispatcher"].py_func.__module__.startswith("nmfkit."):
            self._began = time.monotonic()
            self._timer = threading.Timer(max(0.0, PATIENCE - self._spent), self._tell)
            self._timer.daemon = True
            self._timer.start()

    def on_end(self, event: Any) -> None:
        """The outermost function is compiled, or has failed to be."""
        del event
        self._depth -= 1
        if self._depth == 0 and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._spent += time.monotonic() - self._began

    def _tell(self) -> None:
        from nmfkit import kernels

        with self._lock:
            callback, before = kernels.on_compile, self._told
            self._told = callback
        if callback is not None and callback != before:
            callback("compiling the kernels for this processor, once: they are kept on disk")


register: Any = event.register
register("numba:compile", _Announcer())
