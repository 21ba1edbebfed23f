"""The cosine graph of nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nmfkit.affinity.angle import Angle
from nmfkit.affinity.look import largest
from nmfkit.affinity.neighbours import choice_faults, number_faults, refuse_few, usual
from nmfkit.affinity.search import USUAL, Sizes, search
from nmfkit.affinity.symmetric import graph_of
from nmfkit.executors.each import Each
from nmfkit.loop import Watcher

if TYPE_CHECKING:
    from nmfkit.protocols import Source


@dataclass(frozen=True)
class Cosine:
    """A_ij = x_i·x_j/(‖x_i‖‖x_j‖) for the `k` rows of the largest cosines with each row, itself left out.

    Two rows are joined if one is among the k nearest of the other. k is ⌊log₂ n⌋ + 1 unless given, and of equal
    cosines the first are nearest. Only cosines above zero count (by more than rounding, about 10⁻¹⁵ for each
    feature), so that a row may have fewer neighbours, and a row of zeros has none. `normalize` is "cut" (D^-½ A D^-½)
    or "none". Features of either sign.
    """

    k: int | None = None
    normalize: str = "cut"

    name = "cosine"

    def __post_init__(self) -> None:
        counts = {} if self.k is None else {"k": self.k}
        faults = [*number_faults(**counts), *choice_faults("normalize", self.normalize)]
        if faults:
            raise ValueError("; ".join(faults))

    def settled(self, source: Source) -> Cosine:
        """The same with k for the rows of `source`; raises `DataError` where they are too few."""
        n = source.shape[0]
        k = usual(n) if self.k is None else self.k
        refuse_few(n, source.uri, k=k)
        return replace(self, k=k)

    def weights(self, source: Source, each: Each, watcher: Watcher, sizes: Sizes = USUAL) -> Any:
        """The graph (n, n) of the rows, once `settled`."""
        largest(source, each, sizes.block)  # refuses what has no angle
        n, features = source.shape
        found = search(source, Angle(features), self.k or usual(n), each, watcher, sizes)
        return graph_of(found, -found.keys)
