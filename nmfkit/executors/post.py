"""What the tasks of a fit on a cluster are sent, with them or by way of blobs."""

from __future__ import annotations

import hashlib
import uuid
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import cloudpickle

from nmfkit.executors.blobs import Blobs
from nmfkit.executors.worker import INLINE, Parcel, StateName


class Held:
    """A shared state in a blob, removed when nobody holds this object any more."""

    def __init__(self, name: StateName, discard: Callable[[StateName], None]) -> None:
        self.name = name
        weakref.finalize(self, discard, name)


class HeldApart:
    """A held state and, beside it, what each group of shards has left."""

    def __init__(self, state: Held, kept: Sequence[Held]) -> None:
        self.state, self.kept = state, tuple(kept)


class Post:
    """Parcels and shared states of the fit `run`, the large ones in `blobs` (None: nothing is large)."""

    def __init__(self, run: str, blobs: Blobs | None) -> None:
        self.run, self.blobs = run, blobs
        self._parcels: set[str] = set()
        self._dropped: list[StateName] = []
        self.drop = self._dropped.append

    def move(self, blobs: Blobs) -> None:
        """Leave what is large there from now on."""
        self.blobs, self._parcels = blobs, set()

    def tidy(self) -> None:
        """Remove the states that nobody holds any more."""
        while self._dropped:
            name = self._dropped.pop()
            name.blobs.delete(name.name)

    def parcel(self, content: Any) -> Parcel:
        """An object, pickled."""
        return self.packed(cloudpickle.dumps(content))

    def packed(self, data: bytes) -> Parcel:
        """An object that is pickled already; the same one is left in a blob once."""
        name = f"parcel/{hashlib.sha256(data).hexdigest()}"
        if len(data) <= INLINE or self.blobs is None:
            return Parcel(self.run, name, data)
        if name not in self._parcels:
            self.blobs.put(name, data)
            self._parcels.add(name)
        return Parcel(self.run, name, None, self.blobs)

    def sent(self, shared: Any) -> Parcel | StateName:
        """A shared state, held or plain, as tasks open it."""
        if isinstance(shared, Held | HeldApart):
            return shared.state.name if isinstance(shared, HeldApart) else shared.name
        data = cloudpickle.dumps(shared, protocol=5)
        if len(data) <= INLINE or self.blobs is None:
            return Parcel(self.run, hashlib.sha256(data).hexdigest(), data)
        name = self.state_name()
        name.blobs.put_state(name.name, shared)
        return name

    def held(self, state: Any = None) -> Held:
        """A held state, to be written by a task, or now if it is given."""
        held = Held(self.state_name(), self.drop)
        if state is not None:
            held.name.blobs.put_state(held.name.name, state)
        return held

    def state_name(self) -> StateName:
        """A name for a state to come."""
        assert self.blobs is not None, "a state needs a place"
        return StateName(self.run, self.blobs, f"state/{uuid.uuid4().hex[:16]}")
