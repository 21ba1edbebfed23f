"""`.mtx`, `.mtx.gz`: Matrix Market, sparse (coordinate) or dense (array)."""

from __future__ import annotations

from typing import Any

from nmfkit_plugins.files.containers import no_key


def read(path: str, *, key: str | None = None) -> Any:
    """The matrix in `path`, read whole."""
    from scipy.io import mmread

    no_key(path, key)
    return mmread(path)
