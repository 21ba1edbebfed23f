"""Blocks of X kept in memory between sweeps, first come, within a budget."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass

from nmfkit.blocks import Block


class BlockCache:
    """At most `budget` bytes of blocks; every sweep reads in the same order, so those that came first are as good
    to keep as any.

    Keys are (owner, block). A block that its owner passed over in a whole sweep (another worker has it now) makes
    room for one in use. Threads may share a cache.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.used = 0
        self._blocks: dict[tuple[Hashable, int], tuple[Block, int]] = {}
        self._owners: dict[Hashable, _Owner] = {}
        self._lock = threading.Lock()

    def get(self, owner: Hashable, index: int, sweep: int = 0) -> Block | None:
        """The block, if it is here; notes that sweep number `sweep` of its owner used it."""
        with self._lock:
            found = self._blocks.get((owner, index))
            if found is None:
                return None
            self._blocks[owner, index] = (found[0], sweep)
            self._owners[owner].used_at = time.monotonic()
            return found[0]

    def offer(self, owner: Hashable, index: int, block: Block, sweep: int = 0, most: int | None = None) -> None:
        """Keep the block if there is room: in the budget, and in the `most` bytes that its owner may have."""
        with self._lock:
            if (owner, index) in self._blocks:
                return
            account = self._owners.setdefault(owner, _Owner())
            account.used_at = time.monotonic()
            if not self._fits(account, block, most) and account.looked < sweep:
                account.looked = sweep
                self._forget([k for k, (_, seen) in self._blocks.items() if k[0] == owner and seen < sweep - 1])
            if self._fits(account, block, most):
                self._blocks[owner, index] = (block, sweep)
                account.held += block.nbytes
                self.used += block.nbytes

    def drop(self, owner: Hashable | None = None) -> None:
        """Forget the blocks of `owner`, or all."""
        with self._lock:
            self._forget([key for key in self._blocks if owner is None or key[0] == owner])

    def drop_idle(self, seconds: float) -> None:
        """Forget the blocks of owners that used none of them for `seconds`: their fit has gone without a word."""
        before = time.monotonic() - seconds
        with self._lock:
            idle = {owner for owner, account in self._owners.items() if account.used_at < before}
            self._forget([key for key in self._blocks if key[0] in idle])

    def _fits(self, account: _Owner, block: Block, most: int | None) -> bool:
        own = self.budget if most is None else most
        return account.held + block.nbytes <= own and self.used + block.nbytes <= self.budget

    def _forget(self, keys: list[tuple[Hashable, int]]) -> None:
        for key in keys:
            size = self._blocks.pop(key)[0].nbytes
            self.used -= size
            self._owners[key[0]].held -= size


@dataclass
class _Owner:
    """What one owner holds: bytes, when it last used any, and the sweep in which it last looked for stale blocks."""

    held: int = 0
    used_at: float = 0.0
    looked: int = 0
