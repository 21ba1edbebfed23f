"""The chain of directories in a TIFF file: each says where the next one begins, so that damage may lead in circles."""

from __future__ import annotations

import struct
from pathlib import Path

from nmfkit.errors import SourceError

ORDERS = {b"II": "<", b"MM": ">"}

LAYOUTS = {42: (4, "I", "H", 12), 43: (8, "Q", "Q", 20)}
"""Of TIFF and BigTIFF: where the first offset stands, the codes of an offset and of a count, the bytes of a tag."""


def refuse_broken_chain(path: str) -> None:
    """Raise `SourceError` where the directories of the file end outside of it, or come back to one that was there."""
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        head = file.read(16)
        order = ORDERS.get(head[:2])
        if order is None or len(head) < 16:
            raise SourceError(f"{path} is no TIFF file, or cut short")
        (magic,) = struct.unpack(f"{order}H", head[2:4])
        if magic not in LAYOUTS:
            raise SourceError(f"{path} is no TIFF file of a kind that is known")
        place, wide, count, tag = LAYOUTS[magic]
        (offset,) = struct.unpack_from(f"{order}{wide}", head, place)
        seen: set[int] = set()
        while offset:
            if offset in seen:
                raise SourceError(f"{path} is damaged: its directories go in circles, from byte {offset} on")
            seen.add(offset)
            file.seek(min(offset, size))
            (tags,) = _number(path, file.read(struct.calcsize("<" + count)), order + count)
            file.seek(min(file.tell() + tags * tag, size))
            (offset,) = _number(path, file.read(struct.calcsize("<" + wide)), order + wide)


def _number(path: str, stored: bytes, code: str) -> tuple[int]:
    if len(stored) < struct.calcsize(code):
        raise SourceError(f"{path} is damaged or cut short: a directory lies outside the file")
    number: tuple[int] = struct.unpack(code, stored)
    return number
