"""Matrix Market files, read without trusting them: SciPy's reader ends the process on some that are damaged."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from nmfkit.errors import SourceError
from nmfkit.sources.checks import block_dtype, matrix_shape
from nmfkit_plugins.files.containers import affordable
from nmfkit_plugins.files.lines import binary
from nmfkit_plugins.files.number_lines import rows_of_numbers

Array = npt.NDArray[Any]

PIECE = 2**20
"""Bytes unpacked together."""

COORDINATE, ARRAY = "coordinate", "array"
FIELDS = ("real", "double", "integer", "unsigned-integer", "pattern", "complex")
SYMMETRIES = ("general", "symmetric", "skew-symmetric", "hermitian")

SHORTEST = {COORDINATE: 4, ARRAY: 2}
"""Bytes of the shortest line of an entry: `1 1` for a pattern, `1` for an array."""


@dataclass(frozen=True)
class Header:
    """The first lines: the layout, the field, the symmetry, (m, n) and how many entries follow."""

    layout: str
    field: str
    symmetry: str
    shape: tuple[int, int]
    entries: int


def market(path: str) -> Any:
    """The matrix in `path`, COO or an array; raises `SourceError` where the file is damaged or too short."""
    with binary(path) as file:
        header, line = _header(path, file)
        body = file.tell()
        held = sum(map(len, iter(lambda: file.read(PIECE), b"")))
    _refuse_too_many(path, header, held)
    with binary(path) as file:
        file.seek(body)
        table = _entries(path, header, file, line)
    return _dense(header, table) if header.layout == ARRAY else _sparse(path, header, table)


def _entries(path: str, header: Header, file: IO[bytes], line: int) -> Array:
    """What follows the size, a row for each entry; `line` is the number of the first line."""
    width = _width(header)
    table = np.empty((header.entries, width))
    filled = 0
    for first, found in rows_of_numbers(path, file, width, line):
        if filled + len(found) > len(table):
            raise SourceError(f"{path}: more entries follow line {first} than the {header.entries} that are announced")
        table[filled : filled + len(found)] = found
        filled += len(found)
    if filled < len(table):
        raise SourceError(f"{path} is cut short: {filled} entries stand where {header.entries} are announced")
    return table


def _width(header: Header) -> int:
    """Numbers on the line of an entry."""
    if header.layout == ARRAY:
        return 1
    return 2 if header.field == "pattern" else 3


def _header(path: str, file: IO[bytes]) -> tuple[Header, int]:
    """What the first lines say, and the number of the next one, before which the file stands."""
    first = file.readline(PIECE).decode("latin-1").lower().split()
    if len(first) != 5 or first[:2] != ["%%matrixmarket", "matrix"]:
        raise SourceError(f"{path} is no Matrix Market file: it does not begin with %%MatrixMarket matrix")
    layout, field, symmetry = first[2:]
    if layout not in SHORTEST or field not in FIELDS or symmetry not in SYMMETRIES:
        raise SourceError(f"{path}: {' '.join(first[2:])!r} is no kind of matrix that Matrix Market knows")
    if field == "complex":
        block_dtype(complex, None, path)  # says what to do with complex numbers
    line, number = file.readline(PIECE), 2
    while line.startswith(b"%") or (line and not line.strip()):
        line, number = file.readline(PIECE), number + 1
    cells, wanted = line.split(), 3 if layout == COORDINATE else 2
    if len(cells) != wanted or not all(cell.isdigit() and len(cell) < 19 for cell in cells):
        shown = line[:80].decode("latin-1").strip()
        raise SourceError(f"{path}: {shown!r} is not the size of a matrix ({wanted} numbers)")
    m, n = matrix_shape([int(cell) for cell in cells[:2]], path)
    entries = int(cells[2]) if layout == COORDINATE else _stored(path, symmetry, m, n)
    return Header(layout, field, symmetry, (m, n), entries), number + 1


def _stored(path: str, symmetry: str, m: int, n: int) -> int:
    """The entries of an array that are written: those on and below the diagonal of a symmetric one."""
    if symmetry == "general":
        return m * n
    if m != n:
        raise SourceError(f"{path}: a {symmetry} matrix of {m} × {n} is not square")
    return n * (n - 1) // 2 if symmetry == "skew-symmetric" else n * (n + 1) // 2


def _refuse_too_many(path: str, header: Header, held: int) -> None:
    """Raise `SourceError` where the size announces more than `held` bytes can be, or than there is memory for."""
    shortest = SHORTEST[header.layout]
    if header.entries * shortest > held + 1:  # the last line may lack its end
        most = (held + 1) // shortest
        raise SourceError(f"{path} announces {header.entries} entries, and {held} bytes hold no more than {most}")
    m, n = header.shape
    sparse = 40 * header.entries * (1 + (header.symmetry != "general")) + 8 * (m + n)
    affordable(path, 8 * m * n if header.layout == ARRAY else sparse)


def _sparse(path: str, header: Header, table: Array) -> Any:
    """The matrix of a table of row, column and value, both counted from 1."""
    from scipy.sparse import coo_array

    m, n = header.shape
    places, values = table[:, :2], table[:, 2] if table.shape[1] > 2 else np.ones(len(table))
    wrong = ((places < 1) | (places > (m, n)) | (places % 1 != 0)).any(axis=1)
    if wrong.any():
        entry = int(np.argmax(wrong))
        row, column = places[entry].tolist()
        where = f"{path}, Line {_line_of(path, entry)}"
        raise SourceError(f"{where}: an entry at row {row:g} and column {column:g} is outside {m} × {n}")
    rows, columns = (places.astype(np.int64) - 1).T
    if header.symmetry != "general":
        other = rows != columns
        mirrored = -values[other] if header.symmetry == "skew-symmetric" else values[other]
        values = np.concatenate([values, mirrored])
        rows, columns = np.concatenate([rows, columns[other]]), np.concatenate([columns, rows[other]])
    return coo_array((values, (rows, columns)), shape=(m, n))


def _line_of(path: str, entry: int) -> int:
    """The number of the line of an entry; blank lines count."""
    with binary(path) as file:
        _, first = _header(path, file)
        filled = (number for number, raw in enumerate(file, start=first) if raw.strip())
        return next(islice(filled, entry, None), first)


def _dense(header: Header, table: Array) -> Array:
    """The matrix of an array, which is written column by column."""
    m, n = header.shape
    if header.symmetry == "general":
        return table.reshape(n, m).T
    skew = header.symmetry == "skew-symmetric"
    matrix = np.zeros((n, n))
    columns, rows = np.triu_indices(n, k=int(skew))
    matrix[columns, rows] = -table[:, 0] if skew else table[:, 0]
    matrix[rows, columns] = table[:, 0]
    return matrix
