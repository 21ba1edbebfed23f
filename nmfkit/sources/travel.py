"""Whether workers can open a source by themselves, and what is done where they cannot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cloudpickle

from nmfkit.sources.borrowed import DaskSource
from nmfkit.sources.zarr_open import open_uri

if TYPE_CHECKING:
    from nmfkit.protocols import Source

LIGHT = 2**18
"""Bytes of a pickled source that may go along with every task: a place and a few names, not a matrix."""


def travels(source: Source) -> bool:
    """Whether `source` can be sent to workers as it is: it says where the data lie, and does not hold them."""
    if source.resident or isinstance(source, DaskSource):
        return False  # a dask array may hang on what only this process's client knows
    try:
        return len(cloudpickle.dumps(source)) <= LIGHT
    except Exception:
        return False


def written(source: Source, folder: Path) -> Source:
    """The same matrix as a zarr store in `folder`, which all workers can read; passes through this process once."""
    from nmfkit.sources.convert import convert

    path = folder / "x.zarr"
    convert(source, path, dtype=source.dtype)
    return open_uri(str(path), dtype=source.dtype)
