"""What workers tell of a sweep while it runs."""

from __future__ import annotations

import statistics
import threading
import time
from typing import Any

from distributed import Client

from nmfkit.executors.telling import topic
from nmfkit.loop import Watcher

SLOW = 0.7
"""A shard is slow when the median one is done and this part of it is not."""
OFTEN = 2.0
"""Least seconds between two words on the same sweep's slowest shard."""


class Progress:
    """Hears of the blocks that workers have done, and tells `watcher` of them and of a worker that lags behind."""

    def __init__(self, client: Client, run: str, watcher: Watcher) -> None:
        self._client, self._topic, self._shards = client, topic(run), 0
        self._watcher = watcher
        self._lock = threading.Lock()
        self._sweep = -1
        self._parts: dict[int, float] = {}
        self._said = 0.0
        client.subscribe_topic(self._topic, self._hear)

    def begin(self, sweep: int, shards: int) -> None:
        """So many shards of sweep number `sweep` start: words on earlier ones are of no interest any more."""
        with self._lock:
            self._sweep, self._shards, self._parts, self._said = sweep, shards, {}, time.monotonic()

    def end(self) -> None:
        """The sweep has ended."""
        with self._lock:
            self._sweep = -1

    def close(self) -> None:
        """Hear no more."""
        if self._client.status == "running":
            self._client.unsubscribe_topic(self._topic)

    def _hear(self, message: Any) -> None:
        _, event = message
        slow = None
        with self._lock:
            if event["sweep"] != self._sweep:
                return
            self._parts[event["shard"]] = event["part"]
            slow = self._slowest(event)
        self._watcher.block(event["bytes"])
        if slow is not None:
            self._watcher.slow(*slow)

    def _slowest(self, event: dict[str, Any]) -> tuple[str, float] | None:
        """The worker of this word and its part, if nearly all others are done and it is time to say so."""
        parts = [*self._parts.values(), *[0.0] * (self._shards - len(self._parts))]
        if self._shards < 2 or time.monotonic() - self._said < OFTEN:
            return None
        if statistics.median(parts) < 1.0 or event["part"] > SLOW:
            return None
        self._said = time.monotonic()
        return event["worker"], event["part"]
