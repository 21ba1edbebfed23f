"""What a fault looks like on the command line: a message on standard error and an exit code, no traceback."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer

from nmfkit.errors import NmfkitError

INTERRUPTED = 130


class Stopped(NmfkitError):
    """Ctrl-C, with a sentence on what there is now (exit code 130)."""

    exit_code = INTERRUPTED


@contextmanager
def explained(*, verbose: bool) -> Iterator[None]:
    """Turn every fault of the block into its message and exit code; `verbose` adds the traceback."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            yield
            sys.stdout.flush()
    except typer.Exit:
        raise  # the command has said what is to be said
    except BrokenPipeError:
        raise typer.Exit(1) from None
    except NmfkitError as error:
        _tell(str(error), verbose, prefix="" if error.exit_code == INTERRUPTED else "error: ")
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        _tell("interrupted", verbose, prefix="")
        raise typer.Exit(INTERRUPTED) from None
    except MemoryError as error:
        _tell(f"not enough memory{_detail(error)}; bound it with --memory, such as --memory 2GiB", verbose)
        raise typer.Exit(1) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _tell(f"{where}{error.strerror or error}", verbose)
        raise typer.Exit(1) from None
    except Exception as error:
        hint = "" if verbose else " (run again with -v for the traceback)"
        _tell(f"unexpected {type(error).__name__}{_detail(error)}{hint}", verbose)
        raise typer.Exit(1) from None


@contextmanager
def stopped_saying(sentence: Callable[[], str]) -> Iterator[None]:
    """Let Ctrl-C in the block, and SIGTERM alike, end the command with `sentence()`."""
    with _terminated_as_interrupted():
        try:
            yield
        except KeyboardInterrupt:
            raise Stopped(sentence()) from None


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Batch systems end jobs by SIGTERM: it shall leave a checkpoint just as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _tell(message: str, verbose: bool, prefix: str = "error: ") -> None:
    if verbose:
        traceback.print_exc()
    # Notes say where a fault happened, and what is kept in spite of it.
    notes = getattr(sys.exc_info()[1], "__notes__", ())
    print("\n".join([f"{prefix}{message}", *notes]), file=sys.stderr)


def _detail(error: BaseException) -> str:
    return f": {error}" if str(error) else ""


def _warn(message: Warning | str, *_place: Any, **_more: Any) -> None:
    from nmfkit.cli.terminal import say  # not above: every command's --help comes by here, and this needs NumPy

    say(f"warning: {message}")
