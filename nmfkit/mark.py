"""The progress mark: what a running fit says of itself beside the run that it writes, for whoever watches.

The mark of `runs/a.zarr` is the file `runs/.a.zarr.progress`, and so it is at a URI. It stands beside the run, for
that appears only when it holds something, and one that it is to replace stays until then. It is there while the fit
runs; one left behind belongs to a process that was killed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import inf, isfinite
from pathlib import Path
from typing import Any
from uuid import uuid4

from nmfkit.errors import SourceError, StoreError
from nmfkit.loop import Record
from nmfkit.sources.remote import Options, open_store, told
from nmfkit.sources.staging import local_path, reason
from nmfkit.sources.uri import is_remote

POINTS = 120
"""Points of the course that a mark holds."""


@dataclass(frozen=True)
class Mark:
    """Where a fit was when the mark was written.

    `started` and `written` are seconds since 1970 by the clock of `host`, where the process `pid` is to write a mark
    `every` so many seconds. `sweep`, `objective` and `seconds` (in sweeps, all sessions) are None before the first
    sweep; `pace` is the time of a sweep in this session, `part` the part done of the one in work. `curve` holds pairs
    of sweep and objective, evenly spread and at most `POINTS`. `left` is the most time that the limits allow;
    `unfitted` is that of the fit's `State`, None where it is infinite.
    """

    fit: str
    host: str
    pid: int
    started: float
    written: float
    every: float
    problem: Mapping[str, Any]
    source: str
    shape: tuple[int, int]
    stage: str
    sweep: int | None = None
    objective: float | None = None
    seconds: float | None = None
    pace: float | None = None
    part: float = 0.0
    left: float | None = None
    kept: int | None = None
    curve: tuple[tuple[int, float], ...] = ()
    unfitted: float | None = None

    def to_json(self) -> bytes:
        """The text of the mark."""
        return json.dumps({f.name: getattr(self, f.name) for f in fields(self)}, default=dict).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Mark:
        """The mark of a text; raises `ValueError` for any other text."""
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("it is no object")
        known = {f.name for f in fields(cls)}
        try:
            mark = cls(**{name: value for name, value in found.items() if name in known})
            curve = tuple((int(sweep), float(objective)) for sweep, objective in mark.curve)
            m, n = mark.shape
            _refuse_odd(mark)
        except (TypeError, KeyError, OverflowError) as error:
            raise ValueError(str(error)) from error
        return Mark(**{**{f.name: getattr(mark, f.name) for f in fields(cls)}, "curve": curve, "shape": (m, n)})


def _refuse_odd(mark: Mark) -> None:
    numbers = (mark.started, mark.written, mark.every, mark.part, *(v for v in _maybe(mark) if v is not None))
    if not all(isinstance(value, int | float) and isfinite(value) for value in numbers):
        raise ValueError("a number is none")
    if not (isinstance(mark.problem, Mapping) and isinstance(mark.stage, str) and isinstance(mark.pid, int)):
        raise ValueError("a field is of another type")
    if not isinstance(mark.objective, int | float | None):
        raise ValueError("the objective is no number")
    if not all(isinstance(size, int) for size in (*mark.shape, *mark.problem.get("ranks", ()))):
        raise ValueError("a size is none")
    limits = (mark.problem.get("tol"), mark.problem.get("max_sweeps"))
    if not all(limit is None or (isinstance(limit, int | float) and 0 <= limit < inf) for limit in limits):
        raise ValueError("a limit of the problem is none")


def _maybe(mark: Mark) -> Sequence[Any]:
    return (mark.sweep, mark.seconds, mark.pace, mark.left, mark.kept, mark.unfitted)


def thinned(history: Sequence[Record], most: int = POINTS) -> tuple[tuple[int, float], ...]:
    """Sweeps and objectives of at most so many records, evenly spread, the first and the last among them."""
    last = len(history) - 1
    chosen = range(last + 1) if last < most else (round(i * last / (most - 1)) for i in range(most))
    return tuple((history[i].sweep, history[i].objective) for i in chosen)


class MarkFile:
    """The place of the mark of one run; every method raises `StoreError` where it cannot be reached."""

    def __init__(self, run: str | os.PathLike[str], options: Options | None = None) -> None:
        self._remote = is_remote(str(run))
        self._options = options
        if self._remote:
            self._above, _, name = str(run).rstrip("/").rpartition("/")
        else:
            path = local_path(str(run))
            self._above, name = str(path.parent), path.name
        self._key = f".{name}.progress"
        self.place = f"{self._above}/{self._key}"
        self._made: list[Path] = []

    def read(self) -> Mark | None:
        """The mark, None where there is none, or can be none: a whole bucket has nothing beside it."""
        if self._above.endswith(":/"):
            return None
        data = self._get() if self._remote else self._read_file()
        if data is None:
            return None
        try:
            return Mark.from_json(data)
        except ValueError as error:
            raise StoreError(f"{self.place} is no progress mark: {error}") from error

    def write(self, mark: Mark) -> None:
        """Write it in one piece: whoever reads sees the one before or this one."""
        if self._remote:
            self._set(mark.to_json())
        else:
            self._write_file(mark.to_json())

    def remove(self, fit: str) -> None:
        """Take the mark away, if it is that of `fit`; and what folders it stood in, unless they hold a run now."""
        mark = self.read()
        if mark is not None and mark.fit == fit:
            if self._remote:
                self._delete()
            else:
                self._remove_file()
        for folder in reversed(self._made):
            try:
                folder.rmdir()
            except OSError:
                break  # it holds the run

    # --- local -------------------------------------------------------------------------------------------

    def _read_file(self) -> bytes | None:
        try:
            return Path(self.place).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreError(f"{self.place} cannot be read: {reason(error)}") from error

    def _write_file(self, data: bytes) -> None:
        path = Path(self.place)
        aside = path.with_name(f"{path.name}-{uuid4().hex[:8]}")
        try:
            if not path.parent.exists():
                self._made = [p for p in (*reversed(path.parent.parents), path.parent) if not p.exists()]
                path.parent.mkdir(parents=True, exist_ok=True)
            try:
                aside.write_bytes(data)
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {reason(error)}") from error

    def _remove_file(self) -> None:
        try:
            Path(self.place).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self.place} cannot be removed: {reason(error)}") from error

    # --- at a URI ------------------------------------------------------------------------------------------

    def _get(self) -> bytes | None:
        from zarr.core.buffer import default_buffer_prototype
        from zarr.core.sync import sync

        try:
            found = sync(open_store(self._above, self._options).get(self._key, default_buffer_prototype()))
        except FileNotFoundError:
            return None
        except (SourceError, OSError) as error:
            raise StoreError(f"{self.place} cannot be read: {told(error, self._options)}") from None
        return None if found is None else found.to_bytes()

    def _set(self, data: bytes) -> None:
        from zarr.core.buffer import default_buffer_prototype

        self._change("set", self._key, default_buffer_prototype().buffer.from_bytes(data))

    def _delete(self) -> None:
        self._change("delete", self._key)

    def _change(self, method: str, *arguments: Any) -> None:
        from zarr.core.sync import sync

        try:
            store = open_store(self._above, self._options).with_read_only(False)
            sync(getattr(store, method)(*arguments))
        except Exception as error:  # libraries of object stores raise whatever they like
            raise StoreError(f"{self.place} cannot be written: {told(error, self._options)}") from None
