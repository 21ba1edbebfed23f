"""Letting a write finish before Ctrl-C (or a batch system's SIGTERM) takes effect."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
