"""One NumPy archive that `numpy.load` opens without pickle."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.export.contents import LABELS, Contents

NAMES = 2**14
"""Names that are padded in memory at once."""


def write(contents: Contents, path: Path) -> None:
    """Every factor under its name, `rows` and `features` where they have names, the history, the description.

    Where H has columns that the model makes of the features, `columns` has their names.
    Of a model that groups the rows, `labels` (m,) and `memberships` (m, r), too.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, (width, dtype) in contents.row_factors.items():
            blocks = (block for _, block in contents.blocks(name))
            _put(archive, name, (contents.rows, width), dtype, blocks)
        if contents.is_grouping:
            labels = (np.asarray(label, np.int64) for label, _ in contents.groups())
            _put(archive, LABELS, (contents.rows,), np.dtype(np.int64), labels)
        for name, factor in contents.shared.items():
            _put(archive, name, factor.shape, factor.dtype, [factor])
        own = (contents.result.row_names, contents.result.feature_names, contents.made_columns)
        for name, names in zip(("rows", "features", "columns"), own, strict=True):
            if names is not None:
                _put_names(archive, name, names)
        history = contents.result.history
        for column in ("sweep", "objective", "seconds"):
            _put(archive, f"history_{column}", history[column].shape, history[column].dtype, [history[column]])
        text = np.array(contents.text(format="npz"))
        _put(archive, "description", (), text.dtype, [text])


def is_ours(path: Path) -> bool:
    """Whether the file is an archive that `write` has made."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return "nmfkit_export" in json.loads(str(archive["description"]))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return False


def _put(
    archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], blocks: Iterable[Array]
) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_2_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).tobytes())


def _put_names(archive: zipfile.ZipFile, name: str, names: Sequence[str]) -> None:
    """Texts of one length, the only ones that NumPy stores without pickle; none is cut."""
    longest = max((len(n) for n in names), default=1)
    _put(archive, name, (len(names),), np.dtype(f"U{max(1, longest)}"), _pieces(names))


def _pieces(names: Iterable[str]) -> Iterator[Array]:
    left = iter(names)
    while piece := list(islice(left, NAMES)):
        yield np.array(piece)
