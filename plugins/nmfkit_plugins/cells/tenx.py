"""Folders of 10x: `matrix.mtx`, `barcodes.tsv` and `features.tsv` (`genes.tsv` before version 3), all perhaps `.gz`."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nmfkit.errors import Caution, SourceError, UsageError
from nmfkit.sources import SparseSource
from nmfkit_plugins.files.lines import text_lines
from nmfkit_plugins.files.market import market

MATRIX = ("matrix.mtx.gz", "matrix.mtx")
BARCODES = ("barcodes.tsv.gz", "barcodes.tsv")
FEATURES = ("features.tsv.gz", "features.tsv", "genes.tsv.gz", "genes.tsv")

ID, SYMBOL, KIND = 0, 1, 2
"""Columns of the file of features."""

COLUMNS = {"symbols": SYMBOL, "ids": ID}


class Files(NamedTuple):
    """The three files of one matrix."""

    matrix: Path
    barcodes: Path
    features: Path


def read(path: str, *, key: str | None = None, genes: str = "symbols", kind: str | None = None) -> SparseSource:
    """The counts in the folder `path`, cells × genes, read whole.

    `key` is what stands before the names of the files, where there are several matrices. Genes are named by their
    `symbols` or `ids`. `kind` keeps the features of that kind alone, as `gene-expression`. Raises `SourceError` for
    files that are missing or do not fit together.
    """
    if genes not in COLUMNS:
        raise UsageError(f"genes={genes!r} is none of {', '.join(COLUMNS)}")
    files = _files(Path(path), key)
    table = [text.split("\t") for _, text in text_lines(str(files.features)) if text.strip()]
    barcodes = tuple(text.split("\t")[0] for _, text in text_lines(str(files.barcodes)) if text.strip())
    matrix = _matrix(files, len(table), len(barcodes))
    kept = _kept(files.features, table, kind)
    column = COLUMNS[genes]
    names = tuple(table[i][min(column, len(table[i]) - 1)] for i in kept)
    if len(kept) < len(table):
        matrix = matrix[:, kept]
    return SparseSource(matrix, uri=path, row_names=barcodes, feature_names=names)


def _files(folder: Path, key: str | None) -> Files:
    """The files whose names begin with `key`, or the only three that there are."""
    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder; 10x reads one of {MATRIX[0]}, {BARCODES[0]} and {FEATURES[0]}")
    names = {f.name for f in folder.iterdir() if f.is_file()}
    prefixes = sorted({name.removesuffix(end) for end in MATRIX for name in names if name.endswith(end)})
    if key is None and len(prefixes) > 1 and "" not in prefixes:
        raise SourceError(f"{folder} holds several matrices; choose one with --key NAME: {', '.join(prefixes)}")
    if not prefixes:
        raise SourceError(f"{folder} holds no {' nor '.join(MATRIX)}, so it is no folder of 10x")
    if key is not None and key not in prefixes:
        others = ", ".join(filter(None, prefixes))
        raise UsageError(
            f"{folder}: there is no {key}{MATRIX[0]}; " + (f"--key may be {others}" if others else "leave --key out")
        )
    prefix = key if key is not None else prefixes[0]
    found = [next((prefix + n for n in usual if prefix + n in names), None) for usual in (MATRIX, BARCODES, FEATURES)]
    if missing := [usual[0] for usual, name in zip((MATRIX, BARCODES, FEATURES), found, strict=True) if name is None]:
        raise SourceError(f"{folder} lacks {' and '.join(prefix + name for name in missing)}, packed or not")
    return Files(*(folder / str(name) for name in found))


def _matrix(files: Files, features: int, barcodes: int) -> Any:
    """Cells × genes; the file holds genes × cells, as many as there are names."""
    stored = market(str(files.matrix))
    for what, count, have, names in (
        ("rows", features, stored.shape[0], files.features),
        ("columns", barcodes, stored.shape[1], files.barcodes),
    ):
        if count != have:
            raise SourceError(f"{files.matrix} has {have} {what}, and {names.name} {count} lines: one of them is cut")
    from scipy.sparse import csr_array

    return csr_array(stored.T)


def _kept(path: Path, table: list[list[str]], kind: str | None) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """The features of `kind`; all without one, which is told where they are of several."""
    kinds = [_plain(line[KIND]) if len(line) > KIND else "" for line in table]
    counts = Counter(kinds)
    if kind is None:
        if len(counts) > 1:
            held = ", ".join(f"{count} of {name}" for name, count in counts.items())
            warnings.warn(
                f"{path}: features are {held}, and all are read; 10x,kind={kinds[0]}:FOLDER reads one kind",
                Caution,
                stacklevel=2,
            )
        return np.arange(len(table))
    if _plain(kind) not in counts:
        raise UsageError(f"{path}: no features are of kind {kind!r}; they are of {', '.join(counts)}")
    return np.flatnonzero([k == _plain(kind) for k in kinds])


def _plain(kind: str) -> str:
    return kind.strip().lower().replace(" ", "-")
