"""Paths of files as names of rows."""

from __future__ import annotations

import os
from pathlib import Path


def shown(path: Path) -> str:
    """A path as a name, with what is no text in it written as its bytes: no text could hold it otherwise."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")
