"""Choosing a matrix in a file that holds several things."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from zipfile import BadZipFile

from nmfkit.errors import SourceError, UsageError


def no_key(path: str, key: str | None) -> None:
    """Refuse a key for a format that holds one matrix."""
    if key is not None:
        raise UsageError(f"{path} holds a single matrix, so --key {key!r} has nothing to choose")


def refuse_unknown_missing(missing: str) -> None:
    """Refuse a word for what missing entries look like that no reader knows."""
    if missing not in ("none", "nan", "absent"):
        raise UsageError(f"missing={missing!r} is unknown; write none, or nan to read missing entries as NaN")


def affordable(path: str, size: int, what: str = "the matrix") -> None:
    """Refuse what is read whole and takes more bytes than there is memory, before any of it is taken."""
    from nmfkit.executors.plan import size_text
    from nmfkit.executors.resources import free_memory

    if size > (free := free_memory()):
        raise SourceError(
            f"{path}: {what} takes {size_text(size)}, and {size_text(free)} of memory are free; this kind of file is "
            "read whole"
        )


@contextmanager
def numpy_file(path: str) -> Iterator[None]:
    """Turn what NumPy stumbles over in a damaged file into a `SourceError`."""
    try:
        yield
    except (ValueError, EOFError, KeyError, BadZipFile, zlib.error) as error:
        # NumPy advises to unpickle, which runs whatever code the file holds.
        reason = "it holds Python objects" if "pickle" in str(error) else str(error) or type(error).__name__
        raise SourceError(f"{path} is no readable NumPy file: {reason}") from error


def choose(path: str, key: str | None, shapes: Mapping[str, tuple[int, ...]], others: Mapping[str, str]) -> str:
    """The name of the matrix: `key`, or the only candidate that is no vector, or the only one there is.

    `shapes` are the candidates, `others` what else the file holds and what it is.
    """
    if key is not None:
        if key in shapes:
            return key
        why = f"is {others[key]}, no matrix" if key in others else "does not exist"
        raise UsageError(f"{path}: {key!r} {why}. {_listing(shapes, others)}")
    matrices = [name for name, shape in shapes.items() if min(shape) > 1] or list(shapes)
    if len(matrices) == 1:
        return matrices[0]
    if not matrices:
        raise SourceError(f"{path} holds no matrix. {_listing(shapes, others)}")
    raise SourceError(f"{path} holds several matrices; choose one with --key NAME. {_listing(shapes, others)}")


def _listing(shapes: Mapping[str, tuple[int, ...]], others: Mapping[str, str]) -> str:
    parts = [f"{name} {'×'.join(map(str, shape))}" for name, shape in shapes.items()]
    parts += [f"{name} ({what})" for name, what in others.items()]
    return f"It holds: {', '.join(parts)}" if parts else "It is empty"
