"""Edge lists: a line for each edge, two nodes and a weight where there is one."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np

from nmfkit.errors import SourceError, UsageError
from nmfkit.sources import SparseSource
from nmfkit_plugins.files.containers import affordable, no_key
from nmfkit_plugins.files.delimited import cells_of, delimiter_of
from nmfkit_plugins.files.identifiers import Identifiers, heads
from nmfkit_plugins.files.lines import ENTRY, number, text_lines
from nmfkit_plugins.graphs.adjacency import adjacency

DELIMITERS = (",", ";")
"""What may part the cells, beside tabs and blanks."""

COMMENTS = ("#", "%", "//")
NO_DATA = "{}"
"""What networkx writes behind an edge that has no data."""

OFTEN = 2**18
"""Edges after each of which the memory is looked at."""

HEADERS = frozenset(
    ("source", "target", "from", "to", "src", "dst", "sender", "receiver", "fromnodeid", "tonodeid", "u", "v")
)
"""Names of the two columns of nodes, in a first line that names columns."""

Edge = tuple[int, list[str]]


def read(path: str, *, key: str | None = None, directed: bool = False, weight: str = "auto") -> SparseSource:
    """The matrix of nodes × nodes of the list in `path`, symmetric unless `directed`.

    `weight` is the number of the column of weights, from 1, or `none`; `auto` takes the third where there are three.
    Cells are parted by tabs, commas, semicolons or blanks. Raises `SourceError` naming the line of what is no edge.
    """
    no_key(path, key)
    column = _column(path, weight)
    nodes, sources, targets, weights = Identifiers(), array("q"), array("q"), array("d")
    width = 0
    for line, cells in _edges(path):
        if len(sources) % OFTEN == 0:
            affordable(path, len(sources) * 2 * ENTRY, f"a graph of its first {len(sources)} edges")
        width = width or _width(path, line, cells, column, weight)
        if len(cells) != width:
            raise SourceError(f"{path}, line {line}: {len(cells)} cells where lines above have {width}")
        at = column if weight != "auto" else 2 if width == 3 else None
        sources.append(nodes.number(cells[0]))
        targets.append(nodes.number(cells[1]))
        if at is not None:
            weights.append(number(cells[at], f"{path}, line {line}, column {at + 1}"))
    names, places = nodes.arranged()
    if not names:
        raise SourceError(f"{path} holds no edges")
    ends = places[np.asarray(sources)], places[np.asarray(targets)]
    return adjacency(path, names, ends, np.asarray(weights) if weights else None, directed=directed)


def _column(path: str, weight: str) -> int | None:
    """The place of the column of weights that the user asked for, from 0."""
    if weight in ("auto", "none"):
        return None
    if not weight.isdecimal() or int(weight) < 3:
        raise UsageError(f"{path}: weight={weight} is none of auto, none and the number of a column from 3 on")
    return int(weight) - 1


def _width(path: str, line: int, cells: list[str], column: int | None, weight: str) -> int:
    """The number of cells in every line, by the first one."""
    if len(cells) < 2 or not all(cells[:2]):
        raise SourceError(f"{path}, line {line}: an edge has two nodes, this line has {len(list(filter(None, cells)))}")
    if weight == "auto" and len(cells) > 3:
        raise SourceError(
            f"{path}, line {line}: {len(cells)} columns; name that of the weights: edges,weight=3:FILE, or "
            "edges,weight=none:FILE"
        )
    if column is not None and column >= len(cells):
        raise SourceError(f"{path}, line {line}: {len(cells)} columns, so there is no column {column + 1} of weights")
    return len(cells)


def _edges(path: str) -> Iterator[Edge]:
    """Line numbers and cells of every line that is no comment, blank or header."""
    edges = _lines(path)
    first, second = next(edges, None), next(edges, None)
    if first is None:
        return
    if not _is_header(first[1]) and not heads(path, first[1], second and second[1]):
        yield first
    if second is not None:
        yield second
    yield from edges


def _lines(path: str) -> Iterator[Edge]:
    """Line numbers and cells of every line that is no comment nor blank."""
    delimiter: str | None = None
    seen = False
    for line, text in text_lines(path):
        text = text.strip(" ")
        if not text.strip() or text.startswith(COMMENTS):
            continue
        if not seen:
            delimiter, seen = delimiter_of(path, text, DELIMITERS), True
        yield line, _plain(cells_of(path, line, text, delimiter))


def _plain(cells: list[str]) -> list[str]:
    """Cells without blanks and quotes around them, and without empty ones at the end."""
    cells = [cell.strip().strip('"') for cell in cells]
    while cells and cells[-1] in ("", NO_DATA):
        cells.pop()
    return cells


def _is_header(cells: list[str]) -> bool:
    """Whether a first line names the columns: by their usual names."""
    plain = [cell.lower().replace("_", "").rstrip("0123456789") for cell in cells[:2]]
    return len(cells) > 1 and (set(plain) <= HEADERS or plain in (["node", "node"], ["id", "id"]))
