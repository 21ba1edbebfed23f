"""A matrix in memory turned round: features × samples, as many files hold it, read as samples × features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmfkit.errors import UsageError
from nmfkit.sources.array import ArraySource, SparseSource

if TYPE_CHECKING:
    from nmfkit.protocols import Source


def turned(source: Source, reader: str) -> Source:
    """The transpose, without a copy where it is dense; raises `UsageError` for what is streamed from a file."""
    if isinstance(source, ArraySource | SparseSource):
        return source.turned()
    raise UsageError(
        f"{source.uri}: what {reader} opens is read by blocks of rows, which its transpose is not stored in; turn it "
        "once with nmfkit convert --transpose"
    )
