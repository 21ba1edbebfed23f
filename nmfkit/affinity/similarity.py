"""From rows of features, or from a graph, to the symmetric similarity matrix of the rows."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

from nmfkit.affinity.cautions import cautions, isolated
from nmfkit.affinity.cut import normalized_cut
from nmfkit.affinity.kinds import kind_of, told
from nmfkit.errors import Caution
from nmfkit.executors.each import Each
from nmfkit.executors.machine import Machine, MachineOptions
from nmfkit.executors.open import spread
from nmfkit.loop import Watcher
from nmfkit.sources import SparseSource, open_source
from nmfkit.sources.about import About, about_of
from nmfkit.sources.checks import forced_dtype
from nmfkit.sources.convert import chunk_bytes
from nmfkit.sources.convert import convert as write
from nmfkit.sources.observed import places
from nmfkit.sources.staging import check_output, local_path

if TYPE_CHECKING:
    import scipy.sparse as sp

    from nmfkit.protocols import Source


def similarity(
    x: Any,
    kind: Any = "knn",
    *,
    out: str | os.PathLike[str] | None = None,
    dtype: Any = None,
    chunk_mb: float = 8,
    key: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    watcher: Watcher | None = None,
    **machine: Unpack[MachineOptions],
) -> sp.csr_array:
    """The symmetric similarity matrix (m, m) of the rows of `x` (m, n), compressed rows in `dtype` (float64).

    `kind` is "knn" (self-tuning Gaussian of the nearest neighbours), "cosine" or "graph" (`x` is a graph already),
    with options as in "knn:11,local=7,normalize=none". Symmetric to the bit, and the same however the data are cut
    into blocks: neighbours are found by comparing all pairs, by blocks of rows read one after the other. With `out`
    it is also written there, as `convert` writes a sparse matrix, with the names of the rows on both sides.

    `x`, `key` and `storage_options` as in `fit`; `chunk_mb`, `overwrite` and `machine` as in `convert`. Nodes without
    an edge have empty rows, and a `Caution` counts them; another counts edges of nodes to themselves, where they are
    many. Raises `UsageError` for an unknown kind or option, `DataError` for NaN, infinities, too few rows, and what is
    no graph.
    """
    settings = _Settings(kind, dtype, key, storage_options)
    place = Machine.on_processors(machine, "a similarity")
    heard = watcher or Watcher()
    if out is not None:
        made, _ = _written(x, local_path(os.fspath(out)), settings, chunk_mb, overwrite, place, heard)
    else:
        with spread(place, out=None, watcher=heard) as each:
            made = _made(settings, settings.opened(x), each, heard)
    for caution in made.cautions if watcher is None else ():
        warnings.warn(caution, Caution, stacklevel=2)
    return made.matrix


def convert_similarity(
    src: Any,
    dst: str | os.PathLike[str],
    kind: Any,
    *,
    dtype: Any,
    chunk_mb: float,
    key: str | None,
    storage_options: Mapping[str, Any] | None,
    overwrite: bool,
    machine: Machine,
    watcher: Watcher,
) -> dict[str, Any]:
    """Write the similarity matrix of the rows of `src` to `dst`; returns what was written, as `convert` does."""
    settings = _Settings(kind, dtype, key, storage_options)
    made, found = _written(src, local_path(os.fspath(dst)), settings, chunk_mb, overwrite, machine, watcher)
    return {**found, "path": os.fspath(dst), "similarity": made.kind, "isolated": made.isolated}


class _Settings:
    """What is made of which data; every option is checked before anything is read."""

    def __init__(self, kind: Any, dtype: Any, key: str | None, options: Mapping[str, Any] | None) -> None:
        self.kind, self.dtype = kind_of(kind), forced_dtype("float64" if dtype is None else dtype)
        self._key, self._options = key, options

    def opened(self, x: Any) -> Source:
        """The data, whose entries are compared as float64 whatever the weights are kept as."""
        return open_source(x, key=self._key, dtype="float64", storage_options=self._options)


class _Made(NamedTuple):
    """The matrix, and what is told of it."""

    matrix: sp.csr_array
    kind: dict[str, Any]
    isolated: int
    cautions: tuple[str, ...]


def _made(settings: _Settings, source: Source, each: Each, watcher: Watcher) -> _Made:
    kind = settings.kind.settled(source)
    graph = kind.weights(source, each, watcher)
    if kind.normalize == "cut":
        graph = normalized_cut(graph)
    graph = graph.astype(settings.dtype)
    graph.eliminate_zeros()  # those that the type makes
    said = tuple(cautions(graph))
    for caution in said:
        watcher.note(caution)
    return _Made(graph, told(kind), len(isolated(graph)), said)


def _written(
    x: Any, dst: Path, settings: _Settings, chunk_mb: float, overwrite: bool, place: Machine, watcher: Watcher
) -> tuple[_Made, dict[str, Any]]:
    chunk_bytes(chunk_mb)  # refuses an odd one before the work
    source = settings.opened(x)
    check_output(dst, overwrite=overwrite, keep=places(source))
    with spread(place, out=dst, watcher=watcher) as each:
        made = _made(settings, source, each, watcher)
    watcher.stage("write")
    held = _named(made.matrix, source)
    found = write(held, dst, chunk_mb=chunk_mb, overwrite=overwrite, attributes={"similarity": made.kind})
    return made, found


def _named(matrix: sp.csr_array, source: Source) -> SparseSource:
    """The similarity of the rows of `source`, whose names are those of its rows and of its columns."""
    names, about = source.row_names, about_of(source)
    image = About(row_image=about.row_image, feature_image=about.row_image) if about else None
    return SparseSource(
        matrix, uri=source.uri, dtype=matrix.dtype, row_names=names, feature_names=names, about=image or None
    )
