"""What is sure to be done before what, on a device with several queues: clocks, and the uses of a run of memory."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Clock: TypeAlias = dict[Hashable, int]
"""For each queue, up to which of its calls all are sure to be done."""


class DeviceFault(AssertionError):
    """Something that a real device would not refuse, and would answer with wrong numbers."""


def merge(clock: Clock, other: Mapping[Hashable, int]) -> None:
    """Let `clock` know what `other` knows."""
    for queue, position in other.items():
        clock[queue] = max(clock.get(queue, 0), position)


def covers(clock: Mapping[Hashable, int], call: tuple[Hashable, int]) -> bool:
    """Whether call number `call[1]` of queue `call[0]` is sure to be done."""
    return clock.get(call[0], 0) >= call[1]


@dataclass
class Uses:
    """The last uses of a run of bytes, by queue and part of it: the last call of each, and the last that wrote."""

    last: dict[tuple[Hashable, int, int], tuple[int, int]] = field(default_factory=dict)

    def note(self, call: tuple[Hashable, int], part: tuple[int, int], *, writes: bool) -> None:
        """A call uses the bytes of `part` (first, after the last)."""
        queue, position = call
        before = self.last.get((queue, *part), (0, 0))
        self.last[queue, *part] = (position, position if writes else before[1])

    def unordered(self, clock: Clock, queue: Hashable, part: tuple[int, int], *, writes: bool) -> Hashable | None:
        """A queue that may still use the bytes of `part` in a way that does not bear with a use at `clock`."""
        for (other, lo, hi), (used, wrote) in self.last.items():
            apart = other == queue or hi <= part[0] or part[1] <= lo
            if not apart and not covers(clock, (other, used if writes else wrote)):
                return other
        return None

    def pending(self, clock: Clock) -> Hashable | None:
        """A queue that may still use any of the bytes, for all that `clock` knows."""
        return next((queue for (queue, *_), (used, _) in self.last.items() if not covers(clock, (queue, used))), None)
