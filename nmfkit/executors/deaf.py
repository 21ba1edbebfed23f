"""Loaded by worker processes that nmfkit starts itself: Ctrl-C is not for them.

A terminal sends it to all processes of a command; the one that started the others ends the work in good order.
"""

from __future__ import annotations

import signal
import threading
from typing import Any


def dask_setup(worker: Any) -> None:
    """Called by dask when the worker starts."""
    del worker
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
