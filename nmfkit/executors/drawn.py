"""What a dask worker does of a batch of rows: the part that comes from blocks of its own."""

from __future__ import annotations

from collections.abc import Sequence

from nmfkit.blocks import Block
from nmfkit.executors.draws import Some, picked, pieces
from nmfkit.executors.local import PIECE
from nmfkit.executors.shard import combine, told_where
from nmfkit.executors.worker import Errand, Partial, Reading, admitted, shelf
from nmfkit.protocols import Source
from nmfkit.stats import widen


def run_drawn(errand: Errand, part: Sequence[Some], most: int) -> Partial:
    """The sums over the rows of `part`; of the blocks that batches come from, the last `most` stay in memory."""
    admitted(errand.passport)
    desk = shelf()
    source: Source = errand.source.open()
    reading, step, shared = Reading(errand, source, desk.cache), errand.step.open(), errand.shared.open()

    def block(some: Some) -> Block:
        return desk.known(f"drawn {errand.run}", str(some.block), most, lambda: reading.block(*some[:3]))

    def stats(x: Block) -> object:
        with told_where("a batch", source):
            return widen(step(x, {}, shared)[1])

    x = picked(part, block).within(source.shape[0])
    return Partial(combine(map(stats, pieces(x, PIECE))), (), ())
