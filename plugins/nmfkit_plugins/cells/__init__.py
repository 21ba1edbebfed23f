"""Readers of single-cell counts, always cells × genes."""

from __future__ import annotations

from nmfkit.hookspecs import ReaderSpec, hookimpl


@hookimpl
def nmfkit_readers() -> list[ReaderSpec]:
    """Every reader of this package."""
    here = "nmfkit_plugins.cells"
    return [
        ReaderSpec("loom", "loom file, cells × genes", f"{here}.loom:read", suffixes=(".loom",)),
        ReaderSpec(
            "10x",
            "folder of 10x: matrix, barcodes and features as text",
            f"{here}.tenx:read",
            holds=("matrix.mtx", "matrix.mtx.gz"),
        ),
    ]
