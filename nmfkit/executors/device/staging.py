"""Page-locked memory by way of which arrays of any size go to the device, from several threads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.executors.device.runtime import Buffer, Runtime

ALIGNED = 256
"""Bytes that every array in a buffer begins at a multiple of."""


def travels(value: Any) -> bool:
    """Whether `value` is an array of numbers on the host."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "biufc"


def rounded(size: int) -> int:
    """`size`, as much as an array takes of a buffer."""
    return -(-size // ALIGNED) * ALIGNED


@dataclass
class _Piece:
    """Page-locked memory, and the mark after which all that was copied from it has left it."""

    pinned: Array
    left: Any = None


class Staging:
    """`count` pieces of `size` bytes: one is written to while others are on their way to the device in `queue`."""

    def __init__(self, runtime: Runtime, count: int, size: int) -> None:
        self._runtime, self._size = runtime, size
        self.queue = runtime.queue()
        self._pieces = [_Piece(runtime.pinned(size)) for _ in range(count)]
        self._free: SimpleQueue[_Piece] = SimpleQueue()
        for piece in self._pieces:
            self._free.put(piece)

    def copy(self, array: Array, buffer: Buffer, offset: int) -> None:
        """Begin to copy `array` into `buffer`, `offset` bytes from its beginning; it may be changed at once."""
        for at, part in parts_of(array, self._size):
            piece = self._free.get()
            try:
                self._send(piece, part, buffer, offset + at)
            finally:
                self._free.put(piece)

    def _send(self, piece: _Piece, part: Array, buffer: Buffer, offset: int) -> None:
        if piece.left is not None:
            self._runtime.settle(piece.left)
        between = piece.pinned[: part.nbytes].view(part.dtype).reshape(part.shape)
        np.copyto(between, part)
        self._runtime.put(buffer.view(offset, part.shape, part.dtype), between, self.queue)
        piece.left = self._runtime.mark(self.queue)

    def settle(self) -> None:
        """Wait for all copies."""
        for piece in self._pieces:
            if piece.left is not None:
                self._runtime.settle(piece.left)


def parts_of(array: Array, size: int) -> Iterator[tuple[int, Array]]:
    """(byte, part): runs of at most `size` bytes of `array`, counted along its rows; views where it is so laid out."""
    row = array.nbytes // len(array) if array.ndim and len(array) else 0
    if not array.size:
        return
    if array.flags.c_contiguous or row > size:
        array = np.ascontiguousarray(array).reshape(-1)
        row = array.itemsize
    step = max(1, size // row)
    for first in range(0, len(array), step):
        yield first * row, array[first : first + step]
