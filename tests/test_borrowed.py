"""Matrices inside other libraries' objects."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from small import COUNTS, QUICK, same

import nmfkit
from nmfkit.errors import DataError, SourceError, UsageError
from nmfkit.sources import open_source

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
    same(nmfkit.fit(adata, key="layers/twice", **QUICK), nmfkit.fit(2 * COUNTS, **QUICK))
    with pytest.raises(UsageError, match="no layer 'raw'; layers: twice"):
        nmfkit.fit(adata, key="raw", rank=2)
    with pytest.raises(DataError, match="no X; name a layer"):
        nmfkit.fit(anndata.AnnData(None, obs, var), rank=2)


@pytest.mark.parametrize("key", ["raw", "raw/X"])
def test_the_raw_matrix_of_an_anndata_object_has_its_own_names(key):
    full = anndata.AnnData(sp.csr_matrix(COUNTS))
    full.var_names = [f"gene{j}" for j in range(40)]
    adata = full[:, :9].copy()
    adata.raw = full
    source = open_source(adata, key=key)
    np.testing.assert_array_equal(source.read(0, 60).dense(), COUNTS)
    assert source.feature_names[39] == "gene39"


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
    with pytest.raises(
        DataError, match=r"csr_array blocks; .* map_blocks\(lambda b: b\.toarray\(\)\) makes them dense"
    ):
        nmfkit.fit(x.map_blocks(sp.csr_array), rank=2)
    with pytest.raises(DataError, match="csc_array blocks"):
        open_source(x.map_blocks(sp.csc_array, meta=np.empty((0, 0)))).read(0, 9)  # an array that says it is NumPy's
    with pytest.raises(DataError, match="3"):
        nmfkit.fit(da.ones((3, 3, 3)), rank=2)


def test_a_block_that_cannot_be_computed_is_told_with_its_rows():
    def broken(block):
        raise OSError("the disk is gone")

    x = da.from_array(COUNTS, chunks=(20, 40)).map_blocks(broken, meta=np.empty((0, 0)))
    with pytest.raises(
        SourceError, match=r"rows 3 … 8 of the dask array cannot be computed: OSError: the disk is gone"
    ):
        open_source(x).read(3, 9)


@pytest.fixture
def client():
    """A cluster of one thread in this process, whose client is the default."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.mark.parametrize("chunks", [(7, 40), (13, 9)])
def test_an_array_that_a_cluster_holds_is_computed_there(client, chunks):
    x = da.from_array(COUNTS, chunks=chunks).persist()
    source = open_source(x)
    np.testing.assert_array_equal(source.read(3, 50).values, COUNTS[3:50])
    with ThreadPoolExecutor(3) as pool:
        blocks = pool.map(lambda at: source.read(*at).values, source.bounds(3000))
        np.testing.assert_array_equal(np.vstack(list(blocks)), COUNTS)
    # From a task as well, on the only thread there is.
    read = client.submit(lambda source: source.read(3, 50).values, source)
    np.testing.assert_array_equal(read.result(timeout=60), COUNTS[3:50])


def test_an_array_whose_cluster_is_gone_is_told(client):
    source = open_source(da.from_array(COUNTS, chunks=(7, 40)).persist())
    client.close()
    with pytest.raises(SourceError, match="rows 3 … 8 of the dask array cannot be computed"):
        source.read(3, 9)
