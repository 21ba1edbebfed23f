"""`.mtx`, `.mtx.gz`: Matrix Market, sparse (coordinate) or dense (array)."""

from __future__ import annotations

from typing import Any

from nmfkit_plugins.files.containers import no_key
from nmfkit_plugins.files.market import market


def read(path: str, *, key: str | None = None) -> Any:
    """The matrix in `path`, read whole."""
    no_key(path, key)
    return market(path)
