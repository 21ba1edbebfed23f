"""`.gml`: graphs in the Graph Modelling Language, read by networkx."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from nmfkit.errors import SourceError
from nmfkit.sources import SparseSource
from nmfkit_plugins.files.containers import affordable, no_key
from nmfkit_plugins.graphs.adjacency import adjacency

WEIGHTS = ("weight", "value")
"""What edges call their weight, the first that there is."""

NAMES = ("label", "name")
"""What nodes call their name; those without are named by their number."""

EXPANSE = 20
"""Bytes that networkx takes for each byte of text, about."""

REPEATED = re.compile(r"^(\s*graph\s*\[)", re.MULTILINE)


def read(path: str, *, key: str | None = None, directed: bool = False) -> SparseSource:
    """The matrix of nodes × nodes of the graph in `path`, symmetric unless `directed`."""
    no_key(path, key)
    graph = _graph(path)
    nodes = list(graph.nodes)
    places = {node: i for i, node in enumerate(nodes)}
    edges = list(graph.edges(data=True))
    ends = tuple(np.array([places[edge[end]] for edge in edges], np.int64) for end in (0, 1))
    names = [_name(node, graph.nodes[node]) for node in nodes]
    return adjacency(path, names, (ends[0], ends[1]), _weights(path, edges), directed=directed)


def _graph(path: str) -> Any:
    """The graph as networkx gives it, its texts taken as texts."""
    try:
        import networkx
    except ImportError as error:
        raise SourceError(f"{path}: GML needs the package networkx: pip install 'nmfkit[graphs]'") from error
    affordable(path, Path(path).stat().st_size * EXPANSE, "the graph")
    raw = Path(path).read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # what the language was made for
    # networkx wants characters beyond ASCII as references, and refuses repeated edges unless they are announced.
    plain = REPEATED.sub(r"\1 multigraph 1 ", text, count=1).encode("ascii", "xmlcharrefreplace").decode()
    try:
        return networkx.parse_gml(plain, label=None, destringizer=None)
    except (networkx.NetworkXError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise SourceError(f"{path} is no readable GML file: {error}") from error
    except RecursionError:
        raise SourceError(f"{path} is no readable GML file: its lists lie too deep in each other") from None


def _name(node: Any, data: dict[str, Any]) -> str:
    return next((str(data[name]) for name in NAMES if name in data), str(node))


def _weights(path: str, edges: list[Any]) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """The weight of each edge, None where none has one; an edge without one, among others, is 1."""
    name = next((name for name in WEIGHTS if any(name in data for *_, data in edges)), None)
    if name is None:
        return None
    weights = [data.get(name, 1) for *_, data in edges]
    for (source, target, _), weight in zip(edges, weights, strict=True):
        if not isinstance(weight, int | float):
            raise SourceError(f"{path}: the {name} of the edge {source} – {target} is {weight!r}, which is no number")
    return np.array(weights, np.float64)
