"""Files of AnnData, HDF5 and zarr, and of 10x are the matrices that were written, with their names; damage is told."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp

from nmfkit.errors import DataError, SourceError, UsageError
from nmfkit.sources import fingerprint, open_source
from nmfkit.sources.columns import StoredByColumns
from nmfkit.testing.reader import SourceContract

h5py = pytest.importorskip("h5py")

OBS = tuple(f"cell{i}" for i in range(60))
VAR = tuple(f"gene{j}" for j in range(9))
FULL_VAR = tuple(f"full{j}" for j in range(12))


def matrix(m=60, n=9, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, (m, n)) * (rng.random((m, n)) < 0.6) * 1.0


X, COUNTS, FULL = matrix(), matrix(seed=1), matrix(60, 12, seed=2)


def whole(source, target=10**6):
    return np.vstack([source.read(lo, hi).dense() for lo, hi in source.bounds(target)])


def put_sparse(parent, name, x, encoding="csr_matrix", **options):
    """A sparse group as AnnData writes it."""
    stored = sp.csr_array(x) if encoding == "csr_matrix" else sp.csc_array(x)
    group = parent.create_group(name)
    group.attrs.update({"encoding-type": encoding, "encoding-version": "0.1.0", "shape": x.shape})
    for part in ("data", "indices", "indptr"):
        group.create_dataset(part, data=getattr(stored, part), **options)
    return group


def put_table(parent, name, texts, index="_index"):
    table = parent.create_group(name)
    table.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": index})
    table.attrs["column-order"] = np.array([], dtype=float)
    column = table.create_dataset(index, data=np.array(texts, dtype=object), dtype=h5py.string_dtype())
    column.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})


def put_array(parent, name, x, **options):
    stored = parent.create_dataset(name, data=x, **options)
    stored.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})


def write(path, x=X, put=put_sparse, **options):
    """A file with a matrix, a layer, and the raw matrix of more genes."""
    with h5py.File(path, "w") as file:
        file.attrs["encoding-type"] = "anndata"
        put(file, "X", x, **options)
        put_sparse(file.create_group("layers"), "counts", COUNTS)
        raw = file.create_group("raw")
        put_sparse(raw, "X", FULL)
        put_table(raw, "var", FULL_VAR)
        put_table(file, "obs", OBS, "barcode")
        put_table(file, "var", VAR)
        put_array(file.create_group("obsm"), "X_pca", X[:, :2])
        for group, kind in (("obsm", "dict"), ("layers", "dict"), ("raw", "raw")):
            file[group].attrs.update({"encoding-type": kind, "encoding-version": "0.1.0"})
    return path


WAYS = {
    "csr": (put_sparse, {}),
    "csr in gzip": (put_sparse, {"compression": "gzip", "chunks": (7,), "shuffle": True}),
    "array": (put_array, {}),
    "array in chunks": (put_array, {"chunks": (7, 4), "compression": "lzf"}),
}


@pytest.mark.parametrize("law", SourceContract.laws())
@pytest.mark.parametrize("way", WAYS)
def test_the_laws_of_a_source(tmp_path, way, law):
    put, options = WAYS[way]
    path = write(tmp_path / "x.h5ad", put=put, **options)
    getattr(SourceContract.of(lambda: open_source(path)), law)()


# --- the same matrix ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["f8", "f4", "i4", "u1", ">f4", "u8", "f2", "bool"])
def test_every_layout_and_type_is_the_same_matrix(tmp_path, way, dtype):
    put, options = WAYS[way]
    if dtype in ("f2", ">f4") and put is put_sparse:
        pytest.skip("SciPy has no sparse matrices of this dtype")
    x = X.astype(dtype)
    source = open_source(write(tmp_path / "x.h5ad", x, put, **options))
    assert source.uri == str(tmp_path / "x.h5ad")
    assert source.is_sparse == (put is put_sparse)
    assert source.nnz == (np.count_nonzero(x) if source.is_sparse else None)
    again = pickle.loads(pickle.dumps(source))
    for target in (1, 300, 10**6):
        np.testing.assert_array_equal(whole(again, target), x)
    assert len(pickle.dumps(source)) < 2000
    forced = open_source(tmp_path / "x.h5ad", dtype="float32")
    assert forced.dtype == np.float32
    np.testing.assert_array_equal(whole(forced), x)


def test_layers_and_raw_have_the_names_of_their_own_place(tmp_path):
    path = write(tmp_path / "x.h5ad")
    for key, x, features in (
        (None, X, VAR),
        ("X", X, VAR),
        ("layers/counts", COUNTS, VAR),
        ("counts", COUNTS, VAR),
        ("raw/X", FULL, FULL_VAR),
        ("raw", FULL, FULL_VAR),
        ("obsm/X_pca", X[:, :2], None),
    ):
        source = pickle.loads(pickle.dumps(open_source(path, key=key)))
        np.testing.assert_array_equal(whole(source), x)
        assert source.row_names == OBS
        assert source.feature_names == features
        assert source.row_names[3:5] == ("cell3", "cell4")


def test_names_in_any_of_their_encodings(tmp_path):
    with h5py.File(write(tmp_path / "x.h5ad"), "a") as file:
        del file["obs"]
        obs = file.create_group("obs")
        obs.attrs["_index"] = "kind"
        kinds = obs.create_group("kind")
        kinds.create_dataset("codes", data=np.arange(60, dtype="i1") % 2)
        kinds.create_dataset("categories", data=["a", "b"])
        del file["var"]
        var = file.create_group("var")
        var.create_group("_index").create_dataset("values", data=list(VAR))
    source = open_source(tmp_path / "x.h5ad")
    assert source.row_names == ("a", "b") * 30
    assert source.feature_names == VAR
    with h5py.File(tmp_path / "x.h5ad", "a") as file:
        del file["obs"], file["var"]["_index"]
        file["var"].create_dataset("_index", data=np.arange(8))
        # Records, as AnnData before 0.7.
        file["obs"] = np.array([(n.encode(), i) for i, n in enumerate(OBS)], dtype=[("index", "S9"), ("n", "i4")])
    source = open_source(tmp_path / "x.h5ad")
    assert source.row_names == OBS
    assert source.feature_names is None


def test_a_file_of_before_version_0_7(tmp_path):
    stored = sp.csr_array(X)
    with h5py.File(tmp_path / "x.h5ad", "w") as file:
        group = file.create_group("X")
        group.attrs.update({"h5sparse_format": b"csr", "h5sparse_shape": X.shape})
        for part in ("data", "indices", "indptr"):
            group[part] = getattr(stored, part)
    np.testing.assert_array_equal(whole(open_source(tmp_path / "x.h5ad")), X)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("lay", [np.asarray, sp.csr_matrix])
def test_files_of_anndata_itself(tmp_path, lay):
    anndata = pytest.importorskip("anndata")
    import pandas as pd

    full = anndata.AnnData(lay(FULL), pd.DataFrame(index=list(OBS)), pd.DataFrame(index=list(FULL_VAR)))
    adata = full[:, :9].copy()
    adata.layers["counts"] = lay(COUNTS)
    adata.raw = full
    adata.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    for key, x, names in (
        (None, FULL[:, :9], FULL_VAR[:9]),
        ("counts", COUNTS, FULL_VAR[:9]),
        ("raw/X", FULL, FULL_VAR),
    ):
        source = open_source(tmp_path / "a.h5ad", key=key)
        np.testing.assert_array_equal(whole(source), x)
        assert source.row_names == OBS
        assert source.feature_names == names


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("lay", [np.asarray, sp.csr_matrix, sp.csc_matrix])
def test_zarr_stores_of_anndata(tmp_path, version, lay):
    anndata = pytest.importorskip("anndata")
    import pandas as pd

    from nmfkit.sources.convert import convert

    # As many genes in raw, of other names.
    raw = anndata.AnnData(lay(COUNTS), pd.DataFrame(index=list(OBS)), pd.DataFrame(index=list(FULL_VAR[:9])))
    adata = anndata.AnnData(lay(X), raw.obs, pd.DataFrame(index=list(VAR)), layers={"counts": lay(COUNTS)})
    adata.raw, adata.obsm["X_pca"] = raw, X[:, :2]
    before = anndata.settings.zarr_write_format
    try:
        anndata.settings.zarr_write_format = version
        adata.write_zarr(tmp_path / "a.zarr")
    finally:
        anndata.settings.zarr_write_format = before
    for key, x, features in (
        (None, X, VAR),
        ("layers/counts", COUNTS, VAR),
        ("counts", COUNTS, VAR),
        ("raw/X", COUNTS, FULL_VAR[:9]),
        ("raw", COUNTS, FULL_VAR[:9]),
        ("obsm/X_pca", X[:, :2], None),
    ):
        if lay is sp.csc_matrix and key != "obsm/X_pca":
            with pytest.raises(StoredByColumns, match="nmfkit convert"):
                open_source(tmp_path / "a.zarr", key=key)
            convert(tmp_path / "a.zarr", tmp_path / "rows.zarr", key=key, overwrite=True)
            source = open_source(tmp_path / "rows.zarr")
        else:
            source = pickle.loads(pickle.dumps(open_source(tmp_path / "a.zarr", key=key)))
            # A run keeps the URI of its data, and the key that they were asked for by.
            np.testing.assert_array_equal(whole(open_source(source.uri, key=key)), x)
        np.testing.assert_array_equal(whole(source, 300), x)
        assert source.row_names == OBS
        assert source.feature_names == features
    with pytest.raises(UsageError, match=r"'zz' does not exist\. It holds: X 60×9, layers/counts 60×9, .*raw/X 60×9"):
        open_source(tmp_path / "a.zarr", key="zz")


@pytest.mark.parametrize("group", ["matrix", "GRCh38"])
def test_10x(tmp_path, group):
    stored = sp.csc_array(X.T.astype("i4"))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        parts = file.create_group(group)
        for part in ("data", "indices", "indptr", "shape"):
            parts[part] = getattr(stored, part)
        parts["barcodes"] = np.array(OBS, "S")
        parts["features/name" if group == "matrix" else "gene_names"] = np.array(VAR, "S")
    for key in (None, group):
        source = open_source(tmp_path / "x.h5", key=key)
        assert source.shape == (60, 9)
        np.testing.assert_array_equal(whole(source, 300), X)
        assert source.row_names == OBS
        assert source.feature_names == VAR


def test_a_plain_file_of_one_matrix(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["labels"] = np.arange(60)
        file["data"] = X
        file["deep/er"] = COUNTS
    np.testing.assert_array_equal(whole(open_source(tmp_path / "x.h5")), X)
    np.testing.assert_array_equal(whole(open_source(tmp_path / "x.h5", key="deep/er")), COUNTS)


def test_it_is_read_in_other_processes_and_on_several_threads(tmp_path):
    source = open_source(write(tmp_path / "x.h5ad", compression="gzip"))
    code = "import pickle, sys; from nmfkit.sources import fingerprint as f; print(f(pickle.load(sys.stdin.buffer)))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(source), capture_output=True, env=env)
    assert done.stdout.decode().strip() == fingerprint(source), done.stderr.decode()
    with ThreadPoolExecutor(4) as pool:
        blocks = list(pool.map(lambda at: source.read(*at).dense(), source.bounds(100) * 3))
    np.testing.assert_array_equal(np.vstack(blocks), np.vstack([X] * 3))


def test_reading_holds_little_besides_its_result(tmp_path, monkeypatch):
    import tracemalloc

    monkeypatch.setattr("nmfkit_plugins.files.hdf5_read.GROUP_BYTES", 2**20)
    x = np.random.default_rng(0).integers(0, 9, (4096, 2**10), dtype="i4")  # 16 MiB, cast to 32 MiB
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("X", data=x, chunks=(16, 2**10))
    source = open_source(tmp_path / "x.h5")
    tracemalloc.start()
    values = source.read(0, 4096).values
    extra = tracemalloc.get_traced_memory()[1] - values.nbytes
    tracemalloc.stop()
    np.testing.assert_array_equal(values, x)
    assert extra < 3 * 2**20


# --- columns, and objects backed by files -------------------------------------------------------------------


def test_columns_are_refused_and_converted(tmp_path):
    from nmfkit.sources.convert import convert

    path = write(tmp_path / "x.h5ad", encoding="csc_matrix")
    with pytest.raises(StoredByColumns, match=r"x\.h5ad: X is compressed by columns.*nmfkit convert") as told:
        open_source(path)
    turned = pickle.loads(pickle.dumps(told.value)).turned
    np.testing.assert_array_equal(whole(turned), X.T)
    assert (turned.row_names, turned.feature_names) == (VAR, OBS)
    convert(path, tmp_path / "x.zarr")
    convert(path, tmp_path / "t.zarr", transpose=True, dtype="float32")
    for name, x, rows, features in (("x", X, OBS, VAR), ("t", X.T, VAR, OBS)):
        source = open_source(tmp_path / f"{name}.zarr")
        assert source.dtype == (np.float32 if name == "t" else np.float64)
        np.testing.assert_array_equal(whole(source), x)
        assert source.row_names == rows
        assert source.feature_names == features


def test_rows_are_converted_with_their_names(tmp_path):
    from nmfkit.sources.convert import convert

    convert(write(tmp_path / "x.h5ad"), tmp_path / "x.zarr", key="raw")
    source = open_source(tmp_path / "x.zarr")
    np.testing.assert_array_equal(whole(source), FULL)
    assert (source.row_names, source.feature_names) == (OBS, FULL_VAR)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("mode", ["r", "r+"])
@pytest.mark.parametrize("put", [put_sparse, put_array])
def test_a_backed_anndata_object_is_read_from_its_file(tmp_path, mode, put):
    anndata = pytest.importorskip("anndata")
    adata = anndata.read_h5ad(write(tmp_path / "x.h5ad", put=put), backed=mode)
    try:
        source = open_source(adata)
        assert source.uri == str(tmp_path / "x.h5ad")
        np.testing.assert_array_equal(whole(source, 300), X)
        assert source.row_names == OBS
        np.testing.assert_array_equal(whole(open_source(adata, key="counts")), COUNTS)
        np.testing.assert_array_equal(whole(open_source(adata, key="layers/counts", dtype="f4")), COUNTS)
        np.testing.assert_array_equal(whole(open_source(adata, key="raw/X")), FULL)
        with pytest.raises(UsageError, match="a view of an AnnData object that is backed"):
            open_source(adata[:30])
        with pytest.raises(UsageError, match="no layer 'zz'; layers: counts"):
            open_source(adata, key="zz")
    finally:
        adata.file.close()


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"nonsense" * 200, None])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = write(tmp_path / "x.h5ad")
    stored = path.read_bytes()
    path.write_bytes(stored[: len(stored) // 2] if content is None else content)
    with pytest.raises(SourceError, match=r"x\.h5ad is no readable HDF5 file: "):
        open_source(path)


@pytest.mark.parametrize("put", [put_sparse, put_array])
def test_a_damaged_chunk_is_told_with_its_rows(tmp_path, put):
    chunks = (7,) if put is put_sparse else (7, 9)
    path = write(tmp_path / "x.h5ad", put=put, compression="gzip", chunks=chunks)
    with h5py.File(path, "r") as file:
        place = (file["X/data"] if put is put_sparse else file["X"]).id.get_chunk_info(2)
    source = open_source(path)
    with path.open("r+b") as file:
        file.seek(place.byte_offset)
        file.write(b"\xff" * place.size)
    with pytest.raises(SourceError, match=r"x\.h5ad: /X: rows (0 … 59: entries )?\d+ … \d+ cannot be read: OSError"):
        source.read(0, 60)
    np.testing.assert_array_equal(source.read(0, 1).dense(), X[:1])


def test_a_file_that_is_gone_is_told(tmp_path):
    source = open_source(write(tmp_path / "x.h5ad"))
    (tmp_path / "x.h5ad").unlink()
    with pytest.raises(SourceError, match=r"x\.h5ad is no readable HDF5 file: .*No such file"):
        source.read(0, 1)


@pytest.mark.parametrize(
    ("part", "values", "words"),
    [
        ("indptr", [0, 3, 2], "decreases at row 1"),
        ("indptr", [0, 1, 99], "only 2 entries"),
        ("indptr", [0, 2], "2 rows need"),
        ("indptr", [[0, 1, 2]], "needs the 1-D dataset 'indptr'"),
        ("data", None, "needs the 1-D dataset 'data'"),
        ("indices", [0, 4], "rows 0 … 1 are damaged: column index 4 is outside the 4 columns"),
    ],
)
def test_damaged_sparse_parts_are_refused(tmp_path, part, values, words):
    with h5py.File(tmp_path / "x.h5ad", "w") as file:
        group = put_sparse(file, "X", np.eye(2, 4))
        del group[part]
        if values is not None:
            group[part] = np.array(values)
    with pytest.raises(SourceError, match=words):
        open_source(tmp_path / "x.h5ad").read(0, 2)


def test_duplicates_are_summed_and_zeros_dropped(tmp_path):
    with h5py.File(tmp_path / "x.h5ad", "w") as file:
        group = put_sparse(file, "X", np.eye(2, 4))
        for part, values in (("data", [1.0, 2, 0, 5, 7]), ("indices", [2, 2, 0, 3, 1]), ("indptr", [0, 3, 5])):
            del group[part]
            group[part] = np.array(values)
    block = open_source(tmp_path / "x.h5ad").read(0, 2)
    np.testing.assert_array_equal(block.dense(), [[0, 0, 3, 0], [0, 7, 0, 5]])
    np.testing.assert_array_equal(block.indices, [2, 1, 3])


def test_a_matrix_that_is_not_there_is_asked_for_by_name(tmp_path):
    path = write(tmp_path / "x.h5ad")
    listing = r"It holds: X 60×9, layers/counts 60×9, raw/X 60×12"
    for key, words in (
        ("zz", rf"'zz' does not exist\. {listing}"),
        ("obs", rf"'obs' is a group, no matrix\. {listing}"),
        ("obs/barcode", rf"'obs/barcode' is 1-D object, no matrix\. {listing}"),
    ):
        with pytest.raises(UsageError, match=words):
            open_source(path, key=key)
    with h5py.File(path, "a") as file:
        del file["X"]
    with pytest.raises(SourceError, match=r"several matrices; choose one with --key NAME\. It holds: layers/counts"):
        open_source(path)
    with h5py.File(tmp_path / "none.h5", "w"):
        pass
    with pytest.raises(SourceError, match=r"none\.h5 holds no matrix\. It is empty"):
        open_source(tmp_path / "none.h5")


def test_numbers_that_do_not_fit_are_refused(tmp_path):
    x = X.copy()
    x[3, 4] = 1e300
    for put in (put_sparse, put_array):
        with pytest.raises(DataError, match=r"1e\+300 is outside the range of float32"):
            open_source(write(tmp_path / "x.h5ad", x, put), dtype="float32").read(0, 60)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["X"] = X * 1j
    with pytest.raises(SourceError, match="holds no matrix"):
        open_source(tmp_path / "c.h5")


def test_without_h5py_the_message_says_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path / "x.h5ad")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(SourceError, match=r"pip install 'nmfkit\[h5ad\]'"):
        open_source(path)


def test_anndata_is_never_imported(tmp_path):
    code = "import sys; from nmfkit.sources import open_source; open_source(sys.argv[1]).read(0, 1)\n"
    code += "print([m for m in ('anndata', 'pandas') if m in sys.modules])"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    args = [sys.executable, "-c", code, str(write(tmp_path / "x.h5ad"))]
    assert subprocess.run(args, capture_output=True, text=True, check=True, env=env).stdout.strip() == "[]"
