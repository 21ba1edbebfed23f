"""Whether workers can open a source by themselves, and what is done where they cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle

from nmfkit.sources.borrowed import DaskSource
from nmfkit.sources.observed import Observed, with_zeros
from nmfkit.sources.zarr_open import open_uri

if TYPE_CHECKING:
    from nmfkit.executors.each import Each
    from nmfkit.protocols import Source

LIGHT = 2**15
"""Bytes of a pickled source that may go along with every task: a place and a few names, not a matrix."""


def travels(source: Source) -> bool:
    """Whether `source` can be sent to workers as it is: it says where the data lie, and does not hold them."""
    if isinstance(source, Observed):
        return all(map(travels, source.parts.values()))
    if source.resident:
        return False
    try:
        return len(cloudpickle.dumps(source)) <= LIGHT
    except Exception:
        return False


def is_cheap(source: Source) -> bool:
    """Whether a read is only a read: the blocks of a dask array are computed anew each time."""
    if isinstance(source, Observed):
        return all(map(is_cheap, source.parts.values()))
    return not isinstance(source, DaskSource)


def written(source: Source, folder: Path, each: Each) -> Source:
    """The same matrix as a zarr store in `folder`, written by the calls of `each`, or here if it is only here."""
    if not isinstance(source, Observed):
        return _written(source, folder / "x.zarr", each)
    parts: dict[str, Any] = {
        name: part if travels(part) and is_cheap(part) else _written(part, folder / f"{name}.zarr", each)
        for name, part in source.parts.items()
    }
    return replace(source, **parts)


def _written(source: Source, path: Path, each: Each) -> Source:
    from nmfkit.sources.convert import convert

    convert(source, path, dtype=source.dtype, each=each)
    return with_zeros(open_uri(str(path), dtype=source.dtype))  # those that the source gives, if it gives any
