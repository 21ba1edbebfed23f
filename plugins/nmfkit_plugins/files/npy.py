"""`.npy`: one NumPy array, memory-mapped."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmfkit_plugins.files.containers import no_key, numpy_file


def read(path: str, *, key: str | None = None) -> np.ndarray[Any, Any]:
    """The array in `path`, mapped read-only: rows are read when they are needed."""
    no_key(path, key)
    with numpy_file(path):
        array: np.ndarray[Any, Any] = np.lib.format.open_memmap(path, mode="r")
    return array
