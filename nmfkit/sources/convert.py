"""Any source → a zarr v3 store that streams well by row blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import zarr

from nmfkit.blocks import CSR
from nmfkit.errors import UsageError
from nmfkit.executors.each import Each, serially
from nmfkit.protocols import Source
from nmfkit.sources import open_source
from nmfkit.sources.about import About, about_of
from nmfkit.sources.checks import forced_dtype
from nmfkit.sources.columns import StoredByColumns
from nmfkit.sources.csr_parts import index_dtype
from nmfkit.sources.csr_spread import write_csr
from nmfkit.sources.csr_write import CSRWriter
from nmfkit.sources.staging import staged
from nmfkit.sources.transpose import transposed_dense, transposed_rows
from nmfkit.sources.travel import travels
from nmfkit.sources.zarr_open import MATRIX
from nmfkit.sources.zarr_write import READ_BYTES, write_dense, write_names

FORMAT = 1
"""Version of the layout, the attribute `nmfkit_format`."""


@dataclass(frozen=True)
class _Task:
    """What to write: the source or its transpose."""

    source: Source
    transpose: bool

    @property
    def shape(self) -> tuple[int, int]:
        m, n = self.source.shape
        return (n, m) if self.transpose else (m, n)

    @property
    def names(self) -> tuple[Sequence[str] | None, Sequence[str] | None]:
        """Those of the rows and the features as written."""
        rows, features = self.source.row_names, self.source.feature_names
        return (features, rows) if self.transpose else (rows, features)

    @property
    def about(self) -> About | None:
        """What rows and features are as written."""
        about = about_of(self.source)
        return about.turned() if about and self.transpose else about


def convert(
    src: Any, dst: str | Path, *, transpose: bool = False, dtype: Any = None, chunk_mb: float = 8,
    key: str | None = None, overwrite: bool = False, storage_options: Mapping[str, Any] | None = None,
    each: Each = serially, attributes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write `src` to the directory `dst` as zarr v3, in bounded memory; returns what was written.

    A dense matrix becomes the array `X` in chunks of whole rows of about `chunk_mb` MiB, a sparse one a CSR
    group in AnnData's layout; `rows` and `features` hold the names. Stores compressed by columns are read
    too, and `storage_options` open a URI. `dst` appears only when complete; raises `StoreError` where it exists
    without `overwrite`, or cannot be written. `attributes` are kept with those of the group.

    `each` runs the calls that read and write, here or on workers that see `src` and `dst` under the same paths;
    the store is the same, byte for byte. A call holds a block of 32 MiB (one row, or one chunk of `src`, at
    least; three times that while sparse rows are tidied) and a chunk of each array that it writes. A transpose is
    made in this process, and so is the copy of a matrix that is in its memory.
    """
    size_of_chunks = chunk_bytes(chunk_mb)
    task = _task(src, key, forced_dtype(dtype), storage_options, transpose)
    with staged(dst, overwrite=overwrite) as aside:
        group = zarr.open_group(aside, mode="w", zarr_format=3)
        told: dict[str, Any] = {"nmfkit_format": FORMAT, "source": task.source.uri, "transposed": transpose}
        group.attrs.update({**told, **(attributes or {})})
        for name, values in zip(("rows", "features"), task.names, strict=True):
            write_names(group, name, values, each)
        if task.about:
            group.attrs["about"] = task.about.to_dict()
        nnz = (_write_sparse if task.source.is_sparse else _write_dense)(group, task, aside, size_of_chunks, each)
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


def chunk_bytes(chunk_mb: float) -> int:
    """The bytes of a chunk; raises `UsageError` for a size that no chunk should have."""
    if not 0 < chunk_mb < 2048:
        raise UsageError(f"chunk_mb is {chunk_mb}; chunks are more than 0 and less than 2048 MiB, 8 is good")
    return max(1, int(chunk_mb * 2**20))


def _task(src: Any, key: str | None, dtype: Any, options: Mapping[str, Any] | None, transpose: bool) -> _Task:
    try:
        return _Task(open_source(src, key=key, dtype=dtype, storage_options=options), transpose)
    except StoredByColumns as stored:
        return _Task(stored.turned, not transpose)


def _write_dense(group: zarr.Group, task: _Task, aside: Path, chunk_bytes: int, each: Each) -> None:
    if not task.transpose:
        write_dense(group, MATRIX, task.source, chunk_bytes, _spread(task, each))
        return
    with _scratch(aside) as scratch:
        write_dense(group, MATRIX, transposed_dense(task.source, scratch), chunk_bytes)


def _write_sparse(group: zarr.Group, task: _Task, aside: Path, chunk_bytes: int, each: Each) -> int:
    with _scratch(aside) as scratch:
        spread = _spread(task, each)
        if spread is not serially:
            return write_csr(group, task.source, chunk_bytes, spread, scratch)
        # In order, entries find their place without being counted first.
        writer = CSRWriter(group, task.shape, task.source.dtype, index_dtype(task.shape[1]), chunk_bytes)
        for block in _rows(task, scratch):
            writer.append(block)
        return writer.finish()


def _spread(task: _Task, each: Each) -> Each:
    """Where the calls run: a matrix that is in this process's memory would travel with every one."""
    if each is serially or task.transpose:
        return serially
    return each if travels(task.source) else serially


def _rows(task: _Task, scratch: Path) -> Iterable[CSR]:
    if task.transpose:
        return transposed_rows(task.source, scratch)
    return (task.source.read(lo, hi) for lo, hi in task.source.bounds(READ_BYTES))  # type: ignore[misc]


@contextmanager
def _scratch(aside: Path) -> Iterator[Path]:
    """A path for temporary files on the disk that the result goes to."""
    with TemporaryDirectory(dir=aside, prefix=".scratch-") as folder:
        yield Path(folder) / "tiles"
