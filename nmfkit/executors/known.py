"""The objects that were asked for last, each made once, whoever asks."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Known:
    """Objects by kind and name; of each kind the last few are kept. Threads may share it."""

    def __init__(self) -> None:
        self._kinds: defaultdict[str, OrderedDict[str, Future[Any]]] = defaultdict(OrderedDict)
        self._lock = threading.Lock()

    def get(self, kind: str, name: str, most: int, make: Callable[[], T]) -> T:
        """The object of that name, made when it is first asked for; the last `most` of its kind are kept."""
        with self._lock:
            same = self._kinds[kind]
            mine = name not in same
            entry = same.setdefault(name, Future())
            same.move_to_end(name)
            while len(same) > most:
                same.popitem(last=False)
        if mine:
            # Outside the lock: making it may take long, and others ask for the lock, too.
            try:
                entry.set_result(make())
            except BaseException as error:
                with self._lock:
                    same.pop(name, None)
                entry.set_exception(error)
        found: T = entry.result()
        return found

    def keep(self, kind: str, names: Collection[str]) -> None:
        """Drop all of a kind but these."""
        with self._lock:
            same = self._kinds[kind]
            for name in same.keys() - set(names):
                del same[name]

    def forget(self, owner: str) -> None:
        """Drop every kind whose name ends with `owner`."""
        with self._lock:
            for kind in [kind for kind in self._kinds if kind.endswith(owner)]:
                del self._kinds[kind]
