"""MATLAB files of version 4: each variable is five whole numbers, a name, and its entries by columns."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.errors import SourceError
from nmfkit_plugins.files.containers import affordable

NUMBERS = ("f8", "f4", "i4", "i2", "u2", "u1")
FULL, TEXT, SPARSE = 0, 1, 2
HEADER = 20


@dataclass(frozen=True)
class _Variable:
    """Where in the file the entries lie, and what they are; a sparse matrix keeps its shape among its entries."""

    name: str
    kind: int
    stored: tuple[int, int]
    dtype: np.dtype[Any]
    offset: int
    is_complex: bool

    @property
    def size(self) -> int:
        """Bytes of all entries."""
        return self.stored[0] * self.stored[1] * self.dtype.itemsize * (1 + self.is_complex)

    def entries(self, path: str) -> npt.NDArray[Any]:
        """The entries as they are stored."""
        affordable(path, self.size)
        with Path(path).open("rb") as file:
            file.seek(self.offset)
            values = np.frombuffer(file.read(self.stored[0] * self.stored[1] * self.dtype.itemsize), self.dtype)
        return values.reshape(self.stored, order="F")


def variables(path: str) -> list[tuple[str, tuple[int, ...], str]]:
    """Name, shape and class of each variable."""
    return [(v.name, _shape(path, v), {FULL: "double", TEXT: "char", SPARSE: "sparse"}[v.kind]) for v in _each(path)]


def load(path: str, name: str) -> Any:
    """The variable `name`: an array, or a sparse matrix."""
    variable = next((v for v in _each(path) if v.name == name), None)
    if variable is None:
        raise SourceError(f"{path} has no variable {name!r}")
    entries = variable.entries(path)
    if variable.is_complex:
        return entries.astype(np.complex128)  # refused as what it is
    return entries if variable.kind == FULL else _sparse(path, variable, entries)


def _each(path: str) -> Iterator[_Variable]:
    size, at = Path(path).stat().st_size, 0
    with Path(path).open("rb") as file:
        while at < size:
            file.seek(at)
            variable = _described(path, at, file.read(HEADER), size)
            name = file.read(variable.offset - at - HEADER)
            yield _Variable(name.rstrip(b"\0").decode("latin-1"), *_rest(variable))
            at = variable.offset + variable.size


def _rest(variable: _Variable) -> tuple[int, tuple[int, int], np.dtype[Any], int, bool]:
    return variable.kind, variable.stored, variable.dtype, variable.offset, variable.is_complex


def _described(path: str, at: int, header: bytes, size: int) -> _Variable:
    """The variable at byte `at`, without its name; raises `SourceError` where none fits there."""
    if len(header) < HEADER:
        raise SourceError(f"{path} is cut short: {len(header)} bytes stand at byte {at} where a variable begins")
    order = "<" if 0 <= struct.unpack("<i", header[:4])[0] < 5000 else ">"
    code, m, n, is_complex, length = struct.unpack(f"{order}5i", header)
    machine, zero, number, kind = code // 1000, code // 100 % 10, code // 10 % 10, code % 10
    fits = machine in (0, 1) and zero == 0 and number < len(NUMBERS) and kind in (FULL, TEXT, SPARSE)
    if not fits or min(m, n, length) < 0 or is_complex not in (0, 1):
        raise SourceError(f"{path} is no MATLAB file, or damaged: at byte {at} stands no variable")
    dtype = np.dtype(order + NUMBERS[number])
    variable = _Variable("", kind, (m, n), dtype, at + HEADER + length, bool(is_complex))
    if variable.offset + variable.size > size:
        raise SourceError(f"{path} is damaged or cut short: the variable at byte {at} is longer than the file")
    return variable


def _shape(path: str, variable: _Variable) -> tuple[int, int]:
    if variable.kind != SPARSE:
        return variable.stored
    entries = variable.entries(path)
    if entries.shape[0] < 1 or entries.shape[1] < 3:
        raise SourceError(f"{path} is damaged: the sparse {variable.name!r} has no shape")
    sides = entries[-1, :2]
    if not ((sides >= 0) & (sides < 2**31)).all():  # NaN is neither
        raise SourceError(f"{path} is damaged: the sparse {variable.name!r} has the shape {sides.tolist()}")
    return int(sides[0]), int(sides[1])


def _sparse(path: str, variable: _Variable, entries: npt.NDArray[Any]) -> Any:
    from scipy.sparse import coo_array

    m, n = _shape(path, variable)
    affordable(path, 8 * (m + n))
    places, values = entries[:-1, :2], entries[:-1, 2]
    if not ((places >= 1) & (places <= (m, n))).all():
        raise SourceError(f"{path} is damaged: entries of the sparse {variable.name!r} lie outside {m} × {n}")
    rows, columns = (places.astype(np.int64) - 1).T
    return coo_array((values, (rows, columns)), shape=(m, n))
