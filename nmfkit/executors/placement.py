"""Which worker runs which shard: as before where it can, so that the blocks it keeps are those it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Placement:
    """Shards of the given `sizes` over workers, in proportion to their threads.

    A size is a number of blocks: those of one source have about equal bytes, however many rows that takes.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        self._threads: dict[str, int] = {}
        self._owner: list[str | None] = [None] * len(sizes)

    def on(self, threads: Mapping[str, int]) -> list[str]:
        """The address for every shard, given the live workers (at least one) and their threads."""
        if dict(threads) != self._threads:
            self._threads = dict(threads)
            self._share_out()
        return [owner for owner in self._owner if owner is not None]

    def _share_out(self) -> None:
        """Neighbouring shards go to one worker; what a worker has within its due stays with it."""
        total = sum(self._sizes)
        room = {a: total * t / sum(self._threads.values()) for a, t in sorted(self._threads.items())}
        for i, owner in enumerate(self._owner):
            # Half a shard too much is better than one moved.
            if owner in room and room[owner] >= self._sizes[i] / 2:
                room[owner] -= self._sizes[i]
            else:
                self._owner[i] = None
        for i, owner in enumerate(self._owner):
            if owner is None:
                before = self._owner[i - 1] if i else None
                most = max(room, key=room.__getitem__)
                chosen = before if before is not None and room[before] >= self._sizes[i] / 2 else most
                self._owner[i] = chosen
                room[chosen] -= self._sizes[i]
