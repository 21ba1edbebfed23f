"""Matrices inside other libraries' objects."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from small import COUNTS, QUICK, same

import nmfkit
from nmfkit.errors import DataError, UsageError

anndata = pytest.importorskip("anndata")


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix, sp.csc_matrix])
def test_anndata_objects_and_their_layers(kind):
    import pandas as pd

    obs = pd.DataFrame(index=[f"cell{i}" for i in range(60)])
    var = pd.DataFrame(index=[f"gene{j}" for j in range(40)])
    adata = anndata.AnnData(kind(COUNTS), obs, var, layers={"twice": kind(2 * COUNTS)})
    fit = nmfkit.fit(adata, loss="kl", **QUICK)
    same(fit, nmfkit.fit(COUNTS, loss="kl", **QUICK))
    assert (fit.row_names[3], fit.feature_names[39]) == ("cell3", "gene39")
    same(nmfkit.fit(adata, key="twice", **QUICK), nmfkit.fit(2 * COUNTS, **QUICK))
    with pytest.raises(UsageError, match="no layer 'raw'; layers: twice"):
        nmfkit.fit(adata, key="raw", rank=2)
    with pytest.raises(DataError, match="no X; name a layer"):
        nmfkit.fit(anndata.AnnData(None, obs, var), rank=2)


@pytest.mark.parametrize("chunks", [(60, 40), (7, 40), (13, 9), ((5, 30, 25), 40)])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
def test_dask_arrays_in_any_chunks(chunks, dtype):
    x = COUNTS.astype(dtype)
    fit = nmfkit.fit(da.from_array(x, chunks=chunks), loss="kl", threads=2, **QUICK)
    assert fit.w.dtype == (np.float32 if dtype == "float32" else np.float64)
    same(fit, nmfkit.fit(x, loss="kl", **QUICK), 1e-5 if dtype == "float32" else 1e-9)


def test_dask_arrays_that_cannot_be_read_are_refused():
    x = da.from_array(COUNTS, chunks=(20, 40))
    with pytest.raises(DataError, match="does not know its shape"):
        nmfkit.fit(x[x[:, 0] > 0], rank=2)
    with pytest.raises(DataError, match="csr_array blocks"):
        nmfkit.fit(x.map_blocks(sp.csr_array), rank=2)
    with pytest.raises(DataError, match="3"):
        nmfkit.fit(da.ones((3, 3, 3)), rank=2)
