"""Files in folders: none is left out without a word, and their paths are names of rows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

from nmfkit.errors import SourceError


def shown(path: Path) -> str:
    """A path as a name, with what is no text in it written as its bytes: no text could hold it otherwise."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def unreadable(error: OSError) -> NoReturn:
    """For `os.walk`, which would leave out what it cannot look into: raises a `SourceError` that names it."""
    raise SourceError(f"{error.filename} cannot be read: {error.strerror}") from error
