"""What a fit with given options needs of the machine, and what it makes of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nmfkit.blocks import Array
from nmfkit.executors.plan import size_text
from nmfkit.protocols import Ingredients
from nmfkit_plugins.mdsr.options import Options
from nmfkit_plugins.mdsr.telling import operations, told
from nmfkit_plugins.mdsr.widths import parameters_in, sizes_of

if TYPE_CHECKING:
    from nmfkit.result import Result

COPIES, LARGE = 12, 2**30
"""Networks that a fit holds at most: weights and moments, before and after an epoch and a step, and of the best epoch;
and bytes of which it tells.
"""


class Needs:
    """The half of a model that follows from its `options` and its `parts` alone."""

    parts: Ingredients
    options: Options

    @property
    def name(self) -> str:
        """Under which it is registered."""
        return "ig-mdsr-rnmf" if self.options.relaxed else "ig-mdsr-nmf"

    def misfits(self) -> Sequence[str]:
        """One rank is all it takes."""
        ranks = self.parts.ranks
        return [] if len(ranks) == 1 else [f"model {self.name!r} takes one rank, and {len(ranks)} are given"]

    def cautions(self, initializer: Any, shape: tuple[int, int]) -> Sequence[str]:
        """How much memory the weights take, where that is much."""
        del initializer
        n = shape[1]
        columns = self.options.preprocessing.width(n)
        count = parameters_in(self.sizes(n), columns)
        if count * COPIES * 8 < LARGE:
            return []
        fewer = parameters_in(sizes_of("geometric", self.parts.ranks[0], n, self.options.layers), columns)
        less = f"hidden_sizes geometric makes {fewer:,} of them, and smaller ones" if fewer < count else "Smaller ones"
        return [
            f"the network has {count:,} weights, which take up to {size_text(count * COPIES * 8)} with their training. "
            f"{less} can be given (hidden_sizes=48,32)"
        ]

    def told(self, shape: tuple[int, int]) -> Mapping[str, str]:
        """Layers, weights and batches."""
        return told(self.options, self.sizes(shape[1]), shape[0], self.options.preprocessing.width(shape[1]))

    def operations(self, shape: tuple[int, int], stored: int | None) -> float:
        """Of an epoch: its steps, and the pass that makes W and the loss."""
        (m, n), preprocessing = shape, self.options.preprocessing
        sparse = None if preprocessing.folds else stored
        return operations(self.options, self.sizes(n), m, preprocessing.width(n), sparse)

    def diagnosis(self, run: Result, empty: Array | None) -> Sequence[str]:
        """Outputs that are dead, and codes that are saturated."""
        from nmfkit_plugins.mdsr.diagnostics import diagnosed

        return diagnosed(run).faults(run.column_names, empty)

    @property
    def either_sign(self) -> str:
        """How data with negative entries are taken after all."""
        return "preprocess=zscore-fold of this model, or model ig-mdsr-rnmf"

    @property
    def signed(self) -> bool:
        """Whether entries of X may be negative."""
        return self.options.relaxed or self.options.preprocessing.standardizes

    @property
    def forms_product(self) -> bool:
        """Where Ŷ is no product, or its largest entries are asked for."""
        return self.options.output == "relu" or self.options.checkpoint == "accuracy"

    @property
    def elementwise(self) -> bool:
        """Where Ŷ is formed, or Y is another matrix than X."""
        return self.forms_product or self.options.preprocessing.standardizes

    @property
    def phased(self) -> bool:
        """With batches."""
        return not self.options.full

    @property
    def draws(self) -> bool:
        """With batches."""
        return not self.options.full

    @property
    def reads(self) -> int:
        """One for the batches of an epoch, and one for W and the loss."""
        return 1 if self.options.full else 2

    @property
    def start_sweeps(self) -> int:
        """What preprocessing learns, and a first look at Y."""
        return 2 if self.options.preprocessing.standardizes else 1

    @property
    def keeps_best(self) -> bool:
        """With checkpoint best."""
        return self.options.checkpoint == "best"

    @property
    def closes(self) -> bool:
        """Where the weights to return are others than those that the training goes on from."""
        return self.options.closes

    @property
    def ends(self) -> bool:
        """With patience."""
        return self.options.patience is not None

    def width(self, n: int) -> int:
        """Columns of as many entries as X has that its weights take: N (R + r) / n, and those between layers."""
        return -(-parameters_in(self.sizes(n), self.options.preprocessing.width(n)) // n)

    def sizes(self, n: int) -> tuple[int, ...]:
        """Widths of the layers for X of `n` columns."""
        return sizes_of(self.options.hidden_sizes, self.parts.ranks[0], n, self.options.layers)
