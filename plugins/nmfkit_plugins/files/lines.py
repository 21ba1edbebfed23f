"""Lines of a text file, plain or compressed with gzip, with their numbers; damage is told by line and byte."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from nmfkit.errors import SourceError, UsageError
from nmfkit_plugins.files.containers import affordable

LONGEST = 2**26
"""Bytes of a line: a longer one is no text, or an archive made to fill the memory."""

OFTEN = 2**24
"""Bytes of text after each of which the memory is looked at, since what is made of it is at least as large."""

ENTRY = 64
"""Bytes that a sparse matrix takes for an entry while it is put in order."""


@contextmanager
def binary(path: str) -> Iterator[IO[bytes]]:
    """The open file, unpacked where its name ends in `.gz`; raises `SourceError` where it cannot be read."""
    try:
        with gzip.open(path, "rb") if path.lower().endswith(".gz") else Path(path).open("rb") as file:
            yield file  # type: ignore[misc] # a GzipFile reads as a file does
    except (EOFError, OSError, zlib.error) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error


def text_lines(path: str, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and lines without their ends; raises `SourceError` naming the line that is no text."""
    if "\n".encode(encoding) != b"\n":
        raise UsageError(f"{path}: lines cannot be told in {encoding}; write the file anew in utf-8")
    with binary(path) as file:
        number, held = 0, 0
        while raw := file.readline(LONGEST + 1):
            number += 1
            if len(raw) > LONGEST:
                raise SourceError(f"{path}, line {number}: more than {LONGEST >> 20} MiB without an end of line")
            if held // OFTEN < (held := held + len(raw)) // OFTEN:
                affordable(path, held, f"what its first {number} lines hold")
            yield number, decoded(raw, encoding, f"{path}, line {number}").rstrip("\r\n")


def decoded(raw: bytes, encoding: str, where: str) -> str:
    """`raw` as text, without a byte order mark; raises `SourceError` naming the first byte that is none."""
    try:
        return raw.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{where}: byte {error.start} (0x{raw[error.start]:02x}) is not {encoding}: {error.reason}"
        ) from None


def number(cell: str, where: str) -> float:
    """The number in a cell of text; raises `SourceError` that says where it stands."""
    try:
        if "_" not in cell:  # 1_000 is a number to Python alone
            return float(cell)
        raise ValueError(cell)
    except ValueError:
        what = repr(cell.strip()[:80]) if cell.strip() else "a blank cell"
        raise SourceError(f"{where}: {what} is not a number") from None
