"""What a dask worker does of a batch of rows: the part that comes from blocks of its own."""

from __future__ import annotations

from collections.abc import Sequence

from nmfkit.blocks import Block
from nmfkit.executors.draws import Some, picked, pieces, portions
from nmfkit.executors.local import PIECE
from nmfkit.executors.shard import combine, told_where
from nmfkit.executors.worker import Errand, Partial, Reading, admitted, shelf
from nmfkit.protocols import Source
from nmfkit.stats import widen


def run_drawn(errand: Errand, part: Sequence[Some], most: int, rows: int) -> Partial:
    """The sums over the rows of `part`, so many at a time; of the blocks that they are in, the last `most` are kept."""
    admitted(errand.passport)
    desk = shelf()
    source: Source = errand.source.open()
    reading = Reading(errand, source, desk.cache)

    def block(some: Some) -> Block:
        return desk.known(f"drawn {errand.run}", str(some.block), most, lambda: reading.read(*some[:3]))

    blocks = (picked(some, block).within(source.shape[0]) for some in portions(part, rows))
    with desk.place(errand.run, errand.device) as place:
        step, shared = place.enter(errand.step.open()), place.enter(errand.shared.open())

        def stats(x: Block) -> object:
            with told_where("a batch", source):
                return widen(step(place.enter(x), {}, shared)[1])

        size = place.piece(PIECE)
        return Partial(place.leave(combine(stats(piece) for x in blocks for piece in pieces(x, size))), (), ())
