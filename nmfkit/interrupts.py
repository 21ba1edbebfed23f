"""Ctrl-C and a batch system's SIGTERM: a write is let finish before they take effect, and none gets lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


_missed: list[signal.Signals] = []


@contextmanager
def noticed() -> Iterator[None]:
    """Remember signals that arrive in the block, besides what is done about them: see `raise_if_missed`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: handler for s in SIGNALS if callable(handler := signal.getsignal(s))}

    def remember(number: int, frame: Any) -> None:
        _missed.append(signal.Signals(number))
        before[signal.Signals(number)](number, frame)

    _missed.clear()
    try:
        for number in before:
            signal.signal(number, remember)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _missed.clear()


def raise_if_missed() -> None:
    """Raise `KeyboardInterrupt` for a signal that came while Python could not pass one on.

    What is raised in a finalizer goes nowhere; every sweep on workers runs many, and a batch system asks but once.
    """
    if _missed and threading.current_thread() is threading.main_thread():
        _missed.clear()
        raise KeyboardInterrupt


@contextmanager
def deferred(*, forget: bool = False) -> Iterator[None]:
    """Hold signals back until the block is done; then deliver the first, or with `forget` drop them.

    Outside the main thread, where Python delivers no signals, the block runs as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[tuple[int, Any]] = []
    before: dict[signal.Signals, Any] = {
        s: signal.signal(s, lambda number, frame: arrived.append((number, frame))) for s in SIGNALS
    }
    try:
        yield
    finally:
        for held, handler in before.items():
            signal.signal(held, handler)
    if arrived and not forget:
        first, frame = arrived[0]
        number = signal.Signals(first)
        handler = before[number]
        if callable(handler):
            handler(number, frame)
        elif handler == signal.SIG_DFL:
            signal.raise_signal(number)
