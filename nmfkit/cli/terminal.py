"""What a terminal can show: its characters, and its width."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import IO

from nmfkit.cli.sparkline import PLAIN, RAMP

SPELT = str.maketrans({"·": "-", "×": "x", "≈": "~", "…": "...", "–": "-", "≤": "<=", "≥": ">="})


def say(text: str) -> None:
    """Print a line on standard error. Where nobody reads that any more, the work goes on: no fit is lost for a note."""
    with suppress(OSError):
        print(spelt(text, sys.stderr), file=sys.stderr, flush=True)


def ramp_of(stream: IO[str]) -> str:
    """Blocks, or letters where the stream's encoding has no blocks."""
    return RAMP if _fits(RAMP, stream) else PLAIN


def spelt(text: str, stream: IO[str]) -> str:
    """`text` as the stream's encoding can show it."""
    return text if _fits(text, stream) else text.translate(SPELT)


def _fits(text: str, stream: IO[str]) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
