"""Readers of common file formats, and two small samples; each format is one module, imported when used."""

from __future__ import annotations

from nmfkit.hookspecs import ReaderSpec, hookimpl


@hookimpl
def nmfkit_readers() -> list[ReaderSpec]:
    """Every reader of this package."""
    here = "nmfkit_plugins.files"
    return [
        ReaderSpec("npy", "NumPy array, memory-mapped", f"{here}.npy:read", suffixes=(".npy",)),
        ReaderSpec("npz", "SciPy sparse matrix, or NumPy arrays by name", f"{here}.npz:read", suffixes=(".npz",)),
        ReaderSpec("mtx", "Matrix Market", f"{here}.mtx:read", suffixes=(".mtx", ".mtx.gz")),
        ReaderSpec(
            "csv",
            "comma-separated table",
            f"{here}.table:read",
            suffixes=(".csv", ".csv.gz"),
            preset={"delimiter": ","},
        ),
        ReaderSpec(
            "tsv",
            "tab-separated table",
            f"{here}.table:read",
            suffixes=(".tsv", ".tsv.gz"),
            preset={"delimiter": "\t"},
        ),
        ReaderSpec(
            "h5ad",
            "AnnData or MuData file, matrix of 10x, any 2-D dataset in HDF5",
            f"{here}.h5ad:read",
            suffixes=(".h5ad", ".h5", ".hdf5", ".h5mu"),
        ),
        ReaderSpec("mat", "MATLAB file: a matrix, or an image of many bands", f"{here}.mat:read", suffixes=(".mat",)),
        ReaderSpec(
            "digits",
            "1797 handwritten digits of 8×8 pixels",
            f"{here}.digits:read",
            schemes=("sample:digits",),
        ),
        ReaderSpec(
            "python-docs",
            "word counts of Python's help topics, sparse",
            f"{here}.python_docs:read",
            schemes=("sample:python-docs",),
        ),
    ]
