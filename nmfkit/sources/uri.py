"""Which texts are URIs of something remote, and which are local paths."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

REMOTE = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+(::[A-Za-z][A-Za-z0-9+.-]+)*://")
"""A scheme of two letters or more, for one letter is a drive of Windows; schemes may be chained by `::`."""

LOCAL = "file://"


def is_remote(text: str) -> bool:
    """Whether `text` names something that is not a local path; `file://…` is one."""
    return bool(REMOTE.match(text)) and not text.startswith(LOCAL)


def local_path(text: str) -> Path:
    """The path that a text without a remote scheme stands for."""
    return Path(unquote(urlsplit(text).path)) if text.startswith(LOCAL) else Path(text).expanduser()
