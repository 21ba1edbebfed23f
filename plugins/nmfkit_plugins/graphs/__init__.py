"""Readers of graphs: their matrix of weights, nodes × nodes."""

from __future__ import annotations

from nmfkit.hookspecs import ReaderSpec, hookimpl


@hookimpl
def nmfkit_readers() -> list[ReaderSpec]:
    """Every reader of this package."""
    here = "nmfkit_plugins.graphs"
    return [
        ReaderSpec(
            "edges",
            "list of edges as a matrix of nodes × nodes",
            f"{here}.edges:read",
            suffixes=(".edges", ".edgelist", ".edges.gz", ".edgelist.gz"),
        ),
        ReaderSpec("gml", "graph in GML as a matrix of nodes × nodes", f"{here}.gml:read", suffixes=(".gml",)),
    ]
