"""A look at a fit from outside: from its progress mark while it runs, from its run when it does not."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Literal

from nmfkit.errors import StoreError
from nmfkit.mark import Mark, MarkFile, thinned
from nmfkit.sources.remote import Options
from nmfkit.sources.uri import is_remote
from nmfkit.store import RunStore

Status = Literal["running", "silent", "gone", "interrupted", "done"]
MISSED = 10
"""Marks that must be missing before a fit counts as silent."""


class NothingThere(StoreError):
    """Neither a mark nor a run is there."""


@dataclass(frozen=True)
class Sighting:
    """What a look at a run has found.

    `status` is "running"; "silent" where no sign of life has come for long; "gone" where the process that ran it on
    this machine is no more; "interrupted" or "done". `heard` are the seconds since the last sign of life by the clocks
    of both machines, None where the fit has ended. `kept` is the sweep of the last checkpoint, None without one.
    `curve` holds pairs of sweep and objective; `pace`, `part`, `left`, `written` and `every` are those of `Mark`,
    `unfitted` that of `State`.
    """

    run: str
    status: Status
    problem: Mapping[str, Any]
    source: str
    shape: tuple[int, int]
    curve: tuple[tuple[int, float], ...] = ()
    unfitted: float = inf
    stage: str = ""
    sweep: int | None = None
    objective: float | None = None
    seconds: float | None = None
    stopped_by: str | None = None
    pace: float | None = None
    part: float = 0.0
    left: float | None = None
    kept: int | None = None
    heard: float | None = None
    written: float | None = None
    every: float | None = None
    host: str | None = None
    pid: int | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come of this process."""
        return self.status not in ("running", "silent")

    def as_heard(self, seconds: float) -> Sighting:
        """This look where the last sign of life came so many seconds ago by the clock of whoever looks."""
        if self.ended or self.every is None:
            return self
        status: Status = "running" if seconds <= MISSED * self.every else "silent"
        return replace(self, status=status, heard=seconds)


def look(run: str | os.PathLike[str], *, storage_options: Options | None = None) -> Sighting:
    """What there is to see of the fit at `run`, a path or a URI; raises `StoreError` where there is nothing.

    A mark is looked at first: while a fit runs, what stands at `run` may be the older run that it will replace.
    """
    path = str(run)
    mark = MarkFile(path, storage_options).read()
    if mark is not None:
        return _marked(path, mark, storage_options)
    return _stored(path, _opened(path, storage_options))


def _opened(path: str, options: Options | None) -> RunStore:
    try:
        return RunStore.open(path, options=options)
    except StoreError as error:
        there = is_remote(path) or Path(path).expanduser().exists()
        if there and not isinstance(error.__cause__, FileNotFoundError):
            raise
        if not is_remote(path) and Path(path).expanduser().is_file():
            raise StoreError(f"{path} is a file, and a run is a folder") from error
        raise NothingThere(f"{path} does not exist, and no fit that writes it gives a sign of life") from error


def _marked(path: str, mark: Mark, options: Options | None) -> Sighting:
    heard = max(0.0, time.time() - mark.written)
    status: Status = "running" if heard <= MISSED * mark.every else "silent"
    if heard > 2 * mark.every and _is_gone(mark):
        status = "gone"
    kept = mark.kept
    if status == "gone":
        with suppress(StoreError):  # it may have died before it held anything
            kept = RunStore.open(path, options=options).kept
    return Sighting(
        run=path,
        status=status,
        problem=mark.problem,
        source=mark.source,
        shape=mark.shape,
        curve=mark.curve,
        unfitted=inf if mark.unfitted is None else mark.unfitted,
        stage=mark.stage,
        sweep=mark.sweep,
        objective=mark.objective,
        seconds=mark.seconds,
        pace=mark.pace,
        part=mark.part,
        left=None if mark.left is None else max(0.0, mark.left - heard),
        kept=kept,
        heard=heard,
        written=mark.written,
        every=mark.every,
        host=mark.host,
        pid=mark.pid,
    )


def _is_gone(mark: Mark) -> bool:
    """Whether the process was one of this machine, and is no more."""
    if os.name != "posix" or mark.host != socket.gethostname() or mark.pid <= 0:
        return False  # elsewhere than under POSIX, signal 0 would do something
    try:
        os.kill(mark.pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False  # it is somebody else's, or can be nobody's
    return False


def _stored(path: str, store: RunStore) -> Sighting:
    attributes, records = store.attributes, store.records()
    last = records[-1] if records else None
    m, n = attributes["source"]["shape"]
    status: Status = attributes["status"] if attributes["status"] in ("done", "interrupted") else "silent"
    return Sighting(
        run=path,
        status=status,
        problem=attributes["problem"],
        source=str(attributes["source"]["uri"]),
        shape=(int(m), int(n)),
        curve=thinned(records) if records else (),
        unfitted=store.unfitted,
        sweep=last.sweep if last else None,
        objective=last.objective if last else None,
        seconds=last.seconds if last else None,
        stopped_by=attributes.get("stopped_by") if status == "done" else None,
        kept=store.kept,
    )
