"""The kinds of similarity, from their text."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from nmfkit.affinity.cosine import Cosine
from nmfkit.affinity.graph import Graph
from nmfkit.affinity.knn import Knn
from nmfkit.affinity.search import Sizes
from nmfkit.errors import UsageError
from nmfkit.executors.each import Each
from nmfkit.loop import Watcher
from nmfkit.parts import PartText, build, suggestion

if TYPE_CHECKING:
    from nmfkit.protocols import Source


class Kind(Protocol):
    """How similar two rows are."""

    name: str
    normalize: str

    def settled(self, source: Source) -> Kind:
        """The same with all options for `source`; raises `DataError` where it does not fit them."""
        ...

    def weights(self, source: Source, each: Each, watcher: Watcher, sizes: Sizes = ...) -> Any:
        """The similarities as a symmetric sparse matrix (n, n), not normalised."""
        ...


KINDS: dict[str, Any] = {kind.name: kind for kind in (Knn, Cosine, Graph)}
"""The kinds by name."""


def kind_of(kind: Any) -> Kind:
    """The kind that a text such as `knn:11,local=7` stands for, or that is given; raises `UsageError`."""
    if type(kind) in KINDS.values():
        return kind  # type: ignore[no-any-return]  # one of those, which are kinds
    if not isinstance(kind, str):
        raise UsageError(f"similarity {kind!r} is not a text such as 'knn:11'; known: {', '.join(sorted(KINDS))}")
    text = PartText.parse(kind)
    if text.name not in KINDS:
        raise UsageError(f"unknown similarity {text.name!r}{suggestion(text.name, KINDS)}")
    built: Kind = build(KINDS[text.name], text, kind="similarity")
    return built


def told(kind: Any) -> dict[str, Any]:
    """The name and the options of a kind, as JSON can hold them."""
    return {"kind": kind.name, **asdict(kind)}
