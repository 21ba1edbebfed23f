"""Lines of so many numbers each, parsed by pieces of the file: what a loop over lines would take minutes for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from nmfkit.errors import SourceError

PIECE = 2**23
"""Bytes parsed together; a longer line is none of numbers."""

BLANK = 32
"""Bytes up to the space stand between numbers."""


def rows_of_numbers(path: str, file: IO[bytes], width: int, line: int) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Pieces of the file as tables (rows, `width`) and the number of the first line of each, from `line` on.

    Blank lines are passed over. Raises `SourceError` naming the first line that holds anything else.
    """
    rest = b""
    while piece := file.read(PIECE):
        whole, end, rest = (rest + piece).rpartition(b"\n")
        if len(rest) > PIECE:
            raise SourceError(f"{path}: no line ends within {PIECE:,} bytes")
        yield line, _parsed(path, whole + end, width, line)
        line += whole.count(b"\n") + len(end)
    if rest.strip():
        yield line, _parsed(path, rest, width, line)


def _parsed(path: str, text: bytes, width: int, line: int) -> npt.NDArray[Any]:
    """The table in whole lines; a line that does not fit is looked for only where there is one."""
    if _of_width(text, width):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # text that is no number is skipped with a warning
                return np.fromstring(text.decode("ascii"), sep=" ").reshape(-1, width)
        except (ValueError, DeprecationWarning):
            pass
    raise SourceError(_fault(path, text, width, line))


def _of_width(text: bytes, width: int) -> bool:
    """Whether every line that is not blank holds `width` words."""
    held = np.frombuffer(text, np.uint8)
    word = held > BLANK
    begins = word.copy()
    begins[1:] &= ~word[:-1]
    ends = np.append(np.flatnonzero(held == ord("\n")), len(held) - 1)
    counts = np.diff(np.cumsum(begins, dtype=np.int32)[ends], prepend=0) if len(held) else np.zeros(0)
    return bool(np.all((counts == width) | (counts == 0)))


def _fault(path: str, text: bytes, width: int, line: int) -> str:
    for number, content in enumerate(text.split(b"\n"), start=line):
        words = content.split()
        shown = content[:80].decode("latin-1").strip()
        if words and len(words) != width:
            return f"{path}, Line {number}: {shown!r} holds {len(words)} words, not {width} numbers"
        if not all(map(_is_number, words)):
            return f"{path}, Line {number}: {shown!r} holds what is no number"
    return f"{path}: lines from {line} on are no numbers"


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return b"_" not in word
