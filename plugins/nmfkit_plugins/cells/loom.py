"""`.loom`: genes × cells in HDF5, read as cells × genes by blocks of cells."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from nmfkit.blocks import Dense
from nmfkit.errors import SourceError, UsageError
from nmfkit.protocols import Source
from nmfkit.sources import SparseSource, tiles
from nmfkit.sources.checks import block_dtype, in_range, matrix_shape
from nmfkit_plugins.files.containers import choose
from nmfkit_plugins.files.hdf5_inside import inside
from nmfkit_plugins.files.hdf5_names import Names, named
from nmfkit_plugins.files.hdf5_read import opened

MATRIX, LAYERS = "matrix", "layers"

CELLS = ("CellID", "cell_id", "obs_names", "cell_names", "barcode")
GENES = ("Gene", "gene", "var_names", "gene_names", "GeneName", "Accession")
"""Attributes that name cells and genes, the first that there is."""

BAND_BYTES = 2**24
"""Bytes of a band of genes that are turned at once, beside the result."""

SPARSE_BYTES = 2**26
"""Bytes of the dense blocks from which entries that are not zero are taken."""


def read(
    path: str, *, key: str | None = None, cells: str | None = None, genes: str | None = None, sparse: bool = False
) -> Source:
    """The matrix in `path`, or its layer `key`, as cells × genes; it stays in the file.

    `cells` and `genes` are the attributes that name them. `sparse` reads the entries that are not zero into memory.
    Raises `SourceError` for a damaged file and for names that are too few or too many.
    """
    with opened(path) as file:
        try:
            source = _source(path, file, _chosen(path, file, key), cells, genes)
        except (OSError, RuntimeError, KeyError, AttributeError) as error:
            raise SourceError(f"{path} is no readable loom file: {error}") from error
    return _in_memory(source) if sparse else source


def _source(path: str, file: Any, name: str, cells: str | None, genes: str | None) -> LoomCells:
    dataset = inside(file, name)
    where = f"{path}: {name}"
    n, m = dataset.shape
    shape, dtype = matrix_shape((m, n), where), block_dtype(dataset.dtype, None, where)
    tall, wide = dataset.chunks or (n, 1)
    rows = _names(path, file, "col_attrs", cells, CELLS, m)
    features = _names(path, file, "row_attrs", genes, GENES, n)
    return LoomCells(path, name, shape, dtype, (int(tall), int(wide)), rows, features)


def _chosen(path: str, file: Any, key: str | None) -> str:
    """The path of the matrix, or of the layer of that name."""
    found = {MATRIX: file.get(MATRIX)} | {f"{LAYERS}/{name}": node for name, node in file.get(LAYERS, {}).items()}
    shapes = {
        name: tuple(node.shape[::-1])
        for name, node in found.items()
        if len(getattr(node, "shape", ())) == 2 and node.dtype.kind in "biuf"
    }
    if MATRIX not in shapes:
        raise SourceError(f"{path} is no loom file: it has no 2-D dataset {MATRIX!r} of numbers")
    return (
        MATRIX if key is None else choose(path, f"{LAYERS}/{key}" if f"{LAYERS}/{key}" in shapes else key, shapes, {})
    )


def _names(path: str, file: Any, group: str, wanted: str | None, usual: tuple[str, ...], count: int) -> str | None:
    """The path of the attribute that names cells or genes: the `wanted` one, else one of the `usual`."""
    attributes = file.get(group, {})
    held = [name for name, node in attributes.items() if len(getattr(node, "shape", ())) == 1]
    if wanted is not None and wanted not in held:
        raise UsageError(f"{path}: {group} has no {wanted!r}; it has {', '.join(held) or 'nothing'}")
    name = wanted or next((name for name in usual if name in held), None)
    if name is None:
        return None
    inside(file, f"{group}/{name}")
    length = attributes[name].shape[0]
    if length != count:
        raise SourceError(
            f"{path}: {group}/{name} has {length} names for {count} {'cells' if group[0] == 'c' else 'genes'}"
        )
    return f"{group}/{name}"


def _in_memory(source: LoomCells) -> SparseSource:
    """The entries that are not zero, of one block of cells after another."""
    from scipy.sparse import csr_array, vstack

    blocks = [csr_array(source.read(lo, hi).values) for lo, hi in source.bounds(SPARSE_BYTES)]
    return SparseSource(
        vstack(blocks, format="csr"), uri=source.uri, row_names=source.row_names, feature_names=source.feature_names
    )


@dataclass(frozen=True)
class LoomCells:
    """The dataset `name`, genes × cells in chunks of `chunk`, as (m cells, n genes); it is opened for each read."""

    uri: str
    name: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    chunk: tuple[int, int]
    rows: str | None = None
    features: str | None = None

    is_sparse = False
    resident = False
    nnz = None

    @cached_property
    def row_names(self) -> Names:
        """Names of the cells (m,), read as they are asked for."""
        return named(self.uri, self.rows, self.shape[0])

    @cached_property
    def feature_names(self) -> Names:
        """Names of the genes (n,), read as they are asked for."""
        return named(self.uri, self.features, self.shape[1])

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Ranges of cells of about `target_bytes` that end where chunks do."""
        return tiles.by_chunks(self.shape, self.dtype.itemsize, self.chunk[1], target_bytes)

    def read(self, lo: int, hi: int) -> Dense:
        """Cells `lo` … `hi`, turned; raises `SourceError` naming those that cannot be read."""
        n = self.shape[1]
        values = np.empty((hi - lo, n), self.dtype)
        band = tiles.even(n, self.chunk[0] * max(1, BAND_BYTES // (self.chunk[0] * (hi - lo) * self.dtype.itemsize)))
        where = f"{self.uri}: {self.name}: cells {lo} … {hi - 1}"
        with opened(self.uri) as file:
            for a, b in band:
                try:
                    genes = file[self.name][a:b, lo:hi]
                except (OSError, RuntimeError, KeyError) as error:
                    raise SourceError(f"{where}: genes {a} … {b - 1} cannot be read: {error}") from error
                with in_range(genes, self.dtype, where):
                    values[:, a:b] = genes.T
        return Dense(values, lo)

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}
