"""Looking again and again, until a fit has ended or nothing more is heard of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from nmfkit.cli.options import Output
from nmfkit.cli.progress import EVERY
from nmfkit.cli.terminal import spelt
from nmfkit.cli.text import duration, plain
from nmfkit.cli.watch_text import as_json, in_words, line_text
from nmfkit.errors import NmfkitError, StoreError
from nmfkit.marker import EVERY as EVERY_HERE
from nmfkit.marker import EVERY_REMOTE
from nmfkit.sources.uri import is_remote
from nmfkit.watch import NothingThere, Sighting, look

Options = Mapping[str, Any] | None

START = 10.0
"""Seconds that a fit may take to leave its first mark."""
LOOKS = 3
"""Marks that must be missing before this machine's own clock counts a fit as silent."""


def follow_in_json(run: str, options: Options, patience: float) -> None:
    """Print a line of JSON for every look that shows something new; raises as `sightings` does."""
    before: Sighting | None = None
    for found in sightings(run, options, patience):
        if before is not None and _news(found) == _news(before):
            continue
        before = found
        print(json.dumps(plain(as_json(found)), ensure_ascii=False, allow_nan=False), flush=True)


def follow_in_words(run: str, options: Options, patience: float, output: Output) -> None:
    """Show each look on standard error, and the last one on standard output; raises as `sightings` does."""
    last: Sighting | None = None
    try:
        with _screen(output) as show:
            for last in sightings(run, options, patience):
                show(last)
    finally:
        if last is not None and output.speaks:
            print(in_words(last))


def sightings(run: str, options: Options, patience: float) -> Iterator[Sighting]:
    """One look after the other, until the fit is done.

    Raises `NmfkitError` where it has ended otherwise, or there was no sign of life for `patience` seconds.
    """
    before: Sighting | None = None
    began = time.monotonic()
    _wait_for(run, options, min(patience, START))
    heard: float | None = None  # by the clock of this machine, for the other one's may be wrong
    while True:
        found = _look(run, options, before)
        if before is not None and found.written != before.written:
            heard = time.monotonic()
        before = found
        listened = time.monotonic() - (began if heard is None else heard)
        # The mark of a clock that is ahead seems fresh for as long as that: what counts is that nothing new came.
        if heard is not None or (found.heard is not None and found.heard < listened):
            found = found.as_heard(listened)
        yield found
        if found.status == "done":
            return
        silent = listened if found.heard is None else found.heard
        # One look alone may be deceived by the clock of the other machine.
        enough = silent >= patience and listened >= min(patience, LOOKS * (found.every or 0.0))
        if found.ended or (found.status == "silent" and enough):
            raise NmfkitError(_lament(found, silent))
        time.sleep(EVERY_REMOTE if is_remote(run) else EVERY_HERE)


def _wait_for(run: str, options: Options, seconds: float) -> None:
    """Let a fit that was started a moment ago leave its first mark."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            look(run, storage_options=options)
        except NothingThere:
            time.sleep(EVERY_HERE)
        else:
            return


def _look(run: str, options: Options, before: Sighting | None) -> Sighting:
    try:
        return look(run, storage_options=options)
    except StoreError as error:
        if before is None:
            raise
        raise NmfkitError(f"the fit that wrote {run} has ended, and nothing of it is kept: {error}") from error


def _news(found: Sighting) -> Sighting:
    """What counts as something new: not that it is later."""
    return replace(found, heard=None, left=None, written=None)


def _lament(found: Sighting, silent: float) -> str:
    if found.status == "interrupted":
        return f"{found.run} was interrupted after sweep {found.sweep}"
    if found.status == "gone":
        return f"the process that wrote {found.run} is gone without a word"
    return f"no sign of life of {found.run} for {duration(silent)}; it may have been killed"


@contextmanager
def _screen(output: Output) -> Iterator[Callable[[Sighting], None]]:
    """What shows a look: nothing, lines that are redrawn, or now and then a line."""
    if output.quiet:
        yield _silently
    elif sys.stderr.isatty():
        from nmfkit.cli.watch_live import screen

        with screen() as show:
            yield show
    else:
        yield _Lines()


def _silently(found: Sighting) -> None:
    """Show nothing."""
    del found


class _Lines:
    """Prints a line, and the next one a few seconds later."""

    def __init__(self) -> None:
        self._told: float | None = None

    def __call__(self, found: Sighting) -> None:
        """Show it, if it is time."""
        if not found.ended and (self._told is None or time.monotonic() - self._told >= EVERY):
            print(spelt(line_text(found), sys.stderr), file=sys.stderr, flush=True)
            self._told = time.monotonic()
