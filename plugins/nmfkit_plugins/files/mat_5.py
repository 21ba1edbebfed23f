"""MATLAB files of versions 5 to 7: a list of elements, each perhaps compressed, read without trusting any of them.

The layout is that of MathWorks' "MAT-File Format", chapter 1. SciPy's reader ends the process on some damaged ones.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from nmfkit.errors import SourceError
from nmfkit_plugins.files.containers import affordable

Variables = list[tuple[str, tuple[int, ...], str]]
"""Name, shape and MATLAB's class of each."""

HEADER = 128
MATRIX, COMPRESSED = 14, 15
COMPLEX, LOGICAL = 0x0800, 0x0200

NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""NumPy's names of the types of data."""

CLASSES = (
    "unknown", "cell", "struct", "object", "char", "sparse", "double", "single", "int8", "uint8", "int16", "uint16",
    "int32", "uint32", "int64", "uint64", "function", "opaque",
)  # fmt: skip

MOST_DIMENSIONS, LONGEST_NAME = 64, 4096

DEFLATED = 1032
"""Bytes that one compressed byte becomes at most."""


class Bytes:
    """The bytes of one element from where `file` stands, `size` of them in the file, unpacked where they are packed."""

    def __init__(self, path: str, file: BinaryIO, size: int, *, packed: bool, order: str) -> None:
        self.path, self.order = path, order
        self._file, self._left = file, size
        self._unpacker = zlib.decompressobj() if packed else None

    def take(self, count: int) -> bytes:
        """The next `count`; raises `SourceError` where there are fewer, before any memory is taken for them."""
        most = self._left if self._unpacker is None else DEFLATED * (self._left + 2**16)
        if count > most:
            raise SourceError(
                f"{self.path} is damaged or cut short: {count:,} bytes are promised, which it cannot hold"
            )
        affordable(self.path, count)
        taken = self._plain(count) if self._unpacker is None else self._unpacked(count, self._unpacker)
        if len(taken) < count:
            raise SourceError(f"{self.path} is damaged or cut short: it ends within a variable")
        return taken

    def element(self, most: int | None = None) -> tuple[int, bytes]:
        """The next element: its type and content, of no more than `most` bytes."""
        kind, size = struct.unpack(f"{self.order}II", self.take(4) + bytes(4))
        if kind >> 16:  # a small element, type and size in one word
            kind, size, held, padding = kind & 0xFFFF, kind >> 16, 4, 0
        else:
            (size,) = struct.unpack(f"{self.order}I", self.take(4))
            held, padding = size, -size % 8
        if size > held or (most is not None and size > most):
            raise SourceError(f"{self.path} is damaged: an element of {size:,} bytes stands where none so large can")
        content = self.take(held)[:size]
        if padding and (self._left or self._unpacker is not None):
            self._skip(padding)
        return kind, content

    def _skip(self, count: int) -> None:
        # The last element may lack what fills it up.
        _ = self._plain(count) if self._unpacker is None else self._unpacked(count, self._unpacker)

    def _plain(self, count: int) -> bytes:
        taken = self._file.read(min(count, self._left))
        self._left -= len(taken)
        return taken

    def _unpacked(self, count: int, unpacker: Any) -> bytes:
        pieces, had = [], 0
        try:
            while had < count and not unpacker.eof:
                packed = unpacker.unconsumed_tail or self._plain(2**16)
                piece = unpacker.decompress(packed, count - had)
                if not packed and not piece:
                    break
                pieces.append(piece)
                had += len(piece)
        except zlib.error as error:
            raise SourceError(f"{self.path} is damaged: {error}") from error
        return b"".join(pieces)


@dataclass(frozen=True)
class _Head:
    """What stands before the numbers of a variable."""

    name: str
    shape: tuple[int, ...]
    kind: str
    is_complex: bool = False
    is_logical: bool = False


def variables(path: str) -> Variables:
    """Name, shape and class of each variable; no numbers are read, and what MATLAB keeps without a name is left out."""
    return [(head.name, head.shape, head.kind) for head, _ in _each(path) if head.name]


def load(path: str, name: str) -> Any:
    """The numbers of the variable `name`, as they are stored: an array in MATLAB's order, or a sparse matrix."""
    for head, rest in _each(path):
        if head.name == name:
            return _sparse(path, head, rest) if head.kind == "sparse" else _dense(path, head, rest)
    raise SourceError(f"{path} has no variable {name!r}")


def _each(path: str) -> Iterator[tuple[_Head, Bytes]]:
    """The head of each variable, and the bytes behind it."""
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        order = "<" if file.read(HEADER)[126:128] == b"IM" else ">"
        at = HEADER
        while at < size:
            file.seek(at)
            tag = file.read(8)
            if len(tag) < 8:
                raise SourceError(f"{path} is cut short: {len(tag)} bytes stand at byte {at} where a variable begins")
            kind, length = struct.unpack(f"{order}II", tag)
            if kind not in (MATRIX, COMPRESSED) or at + 8 + length > size:
                why = "is cut short" if kind in (MATRIX, COMPRESSED) else "is damaged"
                raise SourceError(f"{path} {why}: at byte {at} stands no whole variable")
            content = Bytes(path, file, length, packed=kind == COMPRESSED, order=order)
            if kind == COMPRESSED and struct.unpack(f"{order}II", content.take(8))[0] != MATRIX:
                raise SourceError(f"{path} is damaged: at byte {at} stands no variable")
            if length:
                yield _head(path, content, order), content
            at += 8 + length


def _head(path: str, content: Bytes, order: str) -> _Head:
    flags = content.element(8)[1]
    if len(flags) != 8:
        raise SourceError(f"{path} is damaged: a variable has no flags")
    (word,) = struct.unpack(f"{order}I", flags[:4])
    kind = CLASSES[word & 0xFF] if word & 0xFF < len(CLASSES) else "unknown"
    if kind == "opaque":  # has no dimensions
        return _Head(_text(content.element(LONGEST_NAME)[1]), (), kind)
    dimensions = content.element(4 * MOST_DIMENSIONS)[1]
    shape = tuple(int(s) for s in np.frombuffer(dimensions[: len(dimensions) // 4 * 4], f"{order}i4"))
    name = _text(content.element(LONGEST_NAME)[1])
    if len(shape) < 2 or min(shape) < 0:
        raise SourceError(f"{path} is damaged: {name!r} has the shape {shape}")
    is_logical = bool(word & LOGICAL)
    return _Head(name, shape, "logical" if kind == "uint8" and is_logical else kind, bool(word & COMPLEX), is_logical)


def _dense(path: str, head: _Head, rest: Bytes) -> npt.NDArray[Any]:
    values = _numbers(path, head, rest)
    wanted = 1
    for side in head.shape:
        wanted *= side
    if len(values) != wanted:
        raise SourceError(f"{path} is damaged: {head.name!r} has {len(values):,} numbers, and {wanted:,} are promised")
    return values.reshape(head.shape, order="F")


def _sparse(path: str, head: _Head, rest: Bytes) -> Any:
    from scipy.sparse import csc_array

    if len(head.shape) != 2:
        raise SourceError(f"{path} is damaged: {head.name!r} is sparse, and has the shape {head.shape}")
    m, n = head.shape
    affordable(path, 8 * (m + n))
    indices, indptr = (_array(path, rest).astype(np.int64) for _ in range(2))
    values = _numbers(path, head, rest, len(indices))
    used = int(indptr[-1]) if len(indptr) else -1
    if len(indptr) != n + 1 or not 0 <= used <= min(len(indices), len(values)):
        raise SourceError(f"{path} is damaged: the parts of the sparse {head.name!r} do not fit together")
    return csc_array((values[:used], indices[:used], indptr), shape=(m, n))


def _numbers(path: str, head: _Head, rest: Bytes, entries: int = -1) -> npt.NDArray[Any]:
    # MATLAB calls the entries of a logical sparse matrix doubles, and writes a byte for each.
    values = _array(path, rest, bytes_if=entries if head.is_logical else -1)
    # What is refused as complex has to be complex.
    return values.astype(np.complex128) if head.is_complex else values


def _array(path: str, rest: Bytes, bytes_if: int = -1) -> npt.NDArray[Any]:
    """The numbers of the next element; bytes, whatever it says, where there are `bytes_if` of them."""
    kind, content = rest.element()
    if len(content) == bytes_if:
        return np.frombuffer(content, np.uint8)
    if kind not in NUMBERS:
        raise SourceError(f"{path} is damaged: a type of data {kind} stands where numbers should")
    dtype: np.dtype[Any] = np.dtype(rest.order + NUMBERS[kind])
    if len(content) % dtype.itemsize:
        raise SourceError(f"{path} is damaged: {len(content)} bytes are no whole numbers of {dtype.itemsize} bytes")
    return np.frombuffer(content, dtype)


def _text(stored: bytes) -> str:
    return stored.rstrip(b"\0").decode("latin-1")
