"""How `score` tells the quality of an embedding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nmfkit.embedding import ByClass, Preserved, Quality

AGAINST = {"X": "X", "view": "Y"}
"""What the rows of W are beside: the data, or what the model makes of them."""


def of_embedding(found: Quality) -> str:
    """Neighbourhoods that are kept, and classes that are told."""
    from nmfkit.cli.text import facts

    parts = []
    if found.preserved:
        parts.append(f"  Neighbourhoods{_of_rows(found.rows, found)}\n{_kept(found.preserved)}")
    if found.classes is not None:
        parts.append(
            f"  Rows of W and known classes{_of_rows(found.classes.rows, found)}\n{facts(_told(found.classes), '  ')}"
        )
    notes = facts((("note", note) for note in found.notes), "  ")
    return "\n\n".join([*parts, notes] if notes else parts)


def _of_rows(count: int, found: Quality) -> str:
    """Of how many rows, where it is not all of them."""
    return "" if count == found.whole else f", of {count:,} of {found.whole:,} rows"


def _kept(preserved: tuple[Preserved, ...]) -> str:
    """A line for each number of neighbours, and each matrix that W is compared with."""
    from nmfkit.cli.text import table

    lines = [
        (f"{k} of {AGAINST[one.against]}", f"{trust:.4f}", f"{continuity:.4f}")
        for one in preserved
        for k, trust, continuity in zip(one.neighbours, one.trustworthiness, one.continuity, strict=True)
    ]
    found = table([("nearest", "trustworthiness", "continuity"), *lines])
    if len(preserved) == 1:
        return found
    return f"{found}\n  Y is made of X by the model. In units of X, a few columns of large scale may dominate."


def _told(found: ByClass) -> Iterator[tuple[str, str]]:
    if (knn := found.knn) is not None:
        yield f"{knn.neighbours}-NN accuracy", f"{knn.accuracy:.4f}   (the largest class has {knn.largest:.4f})"
    if (kmeans := found.kmeans) is not None:
        yield "k-means", f"{kmeans.clusters:,} clusters, the best of {found.starts} starts"
        yield "  adjusted Rand", f"{kmeans.ari:.4f}"
        yield "  NMI", f"{kmeans.nmi:.4f}"
        yield "  AMI", f"{kmeans.ami:.4f}"
    for note in found.notes:
        yield "note", note
