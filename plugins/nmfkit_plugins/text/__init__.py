"""Readers of text: documents, counted by words."""

from __future__ import annotations

from nmfkit.hookspecs import ReaderSpec, hookimpl


@hookimpl
def nmfkit_readers() -> list[ReaderSpec]:
    """Every reader of this package."""
    here = "nmfkit_plugins.text"
    return [
        ReaderSpec("documents", "folder of texts, or a document a line, by words", f"{here}.documents:read"),
        ReaderSpec("ldac", "counts of words in the format of LDA-C", f"{here}.ldac:read", suffixes=(".ldac",)),
    ]
