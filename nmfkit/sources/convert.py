"""Any source → a zarr v3 store that streams well by row blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import zarr

from nmfkit.blocks import CSR
from nmfkit.errors import UsageError
from nmfkit.protocols import Source
from nmfkit.sources import names, open_source
from nmfkit.sources.checks import forced_dtype
from nmfkit.sources.csr_parts import index_dtype
from nmfkit.sources.staging import staged
from nmfkit.sources.transpose import transposed_dense, transposed_rows
from nmfkit.sources.zarr_csr import ZarrCSR
from nmfkit.sources.zarr_open import MATRIX, StoredByColumns
from nmfkit.sources.zarr_write import READ_BYTES, CSRWriter, write_dense, write_names

FORMAT = 1
"""Version of the layout, the attribute `nmfkit_format`."""


@dataclass(frozen=True)
class _Task:
    """What to write: the source or its transpose, and the names of the rows and features as written."""

    source: Source
    transpose: bool
    rows: Sequence[str] | None
    features: Sequence[str] | None

    @property
    def shape(self) -> tuple[int, int]:
        m, n = self.source.shape
        return (n, m) if self.transpose else (m, n)


def convert(
    src: Any, dst: str | Path, *, transpose: bool = False, dtype: Any = None, chunk_mb: float = 8,
    key: str | None = None, overwrite: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Write `src` to the directory `dst` as zarr v3, in bounded memory; returns what was written.

    A dense matrix becomes the array `X` in chunks of whole rows of about `chunk_mb` MiB, a sparse one a CSR
    group in AnnData's layout; `rows` and `features` hold the names. Stores compressed by columns are read
    too. `dst` appears only when complete; raises `StoreError` where it exists without `overwrite`, or cannot
    be written.
    """
    if not 0 < chunk_mb < 2048:
        raise UsageError(f"chunk_mb is {chunk_mb}; chunks are more than 0 and less than 2048 MiB, 8 is good")
    chunk_bytes = max(1, int(chunk_mb * 2**20))
    task = _task(src, key, forced_dtype(dtype), transpose)
    with staged(dst, overwrite=overwrite) as aside:
        group = zarr.open_group(aside, mode="w", zarr_format=3)
        group.attrs.update({"nmfkit_format": FORMAT, "source": task.source.uri, "transposed": transpose})
        write_names(group, "rows", task.rows)
        write_names(group, "features", task.features)
        nnz = (_write_sparse if task.source.is_sparse else _write_dense)(group, task, aside, chunk_bytes)
        size = sum(f.stat().st_size for f in aside.rglob("*") if f.is_file())
    return {
        "path": str(dst),
        "kind": "csr" if task.source.is_sparse else "dense",
        "shape": list(task.shape),
        "dtype": np.dtype(task.source.dtype).name,
        "nnz": nnz,
        "bytes": size,
        "source": task.source.uri,
        "transposed": transpose,
    }


def _task(src: Any, key: str | None, dtype: Any, transpose: bool) -> _Task:
    try:
        source = open_source(src, key=key, dtype=dtype)
    except StoredByColumns as stored:
        # The columns of X are the rows of Xᵀ, which is what this reads.
        source = ZarrCSR.open(stored.group, stored.place, None, dtype, turned=True)
        n, m = source.shape
        return _named(
            _Task(source, not transpose, names.row_names(stored.root, m), names.feature_names(stored.root, n)),
            transpose,
        )
    return _named(_Task(source, transpose, source.row_names, source.feature_names), transpose)


def _named(task: _Task, transpose: bool) -> _Task:
    return _Task(task.source, task.transpose, task.features, task.rows) if transpose else task


def _write_dense(group: zarr.Group, task: _Task, aside: Path, chunk_bytes: int) -> None:
    if not task.transpose:
        write_dense(group, MATRIX, task.source, chunk_bytes)
        return
    with _scratch(aside) as scratch:
        write_dense(group, MATRIX, transposed_dense(task.source, scratch), chunk_bytes)


def _write_sparse(group: zarr.Group, task: _Task, aside: Path, chunk_bytes: int) -> int:
    indices = index_dtype(task.shape[1])
    writer = CSRWriter(group, task.shape, task.source.dtype, indices, chunk_bytes)
    with _scratch(aside) as scratch:
        for block in _rows(task, scratch):
            writer.append(block)
        return writer.finish()


def _rows(task: _Task, scratch: Path) -> Iterable[CSR]:
    if task.transpose:
        return transposed_rows(task.source, scratch)
    return (task.source.read(lo, hi) for lo, hi in task.source.bounds(READ_BYTES))  # type: ignore[misc]


@contextmanager
def _scratch(aside: Path) -> Iterator[Path]:
    """A path for temporary files on the disk that the result goes to."""
    with TemporaryDirectory(dir=aside, prefix=".scratch-") as folder:
        yield Path(folder) / "tiles"
