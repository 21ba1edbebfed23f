"""`convert` writes the same matrix in a layout that streams, completely or not at all."""

from __future__ import annotations

import shutil
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from nmfkit.errors import DataError, SourceError, StoreError, UsageError
from nmfkit.sources import ArraySource, SparseSource, fingerprint, open_source
from nmfkit.sources.convert import convert
from nmfkit.sources.transpose import transposed_dense, transposed_rows
from nmfkit.sources.zarr_write import row_chunks

SMALL = 1e-3
"""Chunks of a kilobyte or so, in MiB."""


def matrix(m=40, n=30, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 5, (m, n)) * (rng.random((m, n)) < 0.5) * 1.0


def whole(source, target=1000):
    return np.vstack([source.read(lo, hi).dense() for lo, hi in source.bounds(target)])


def named(kind, x):
    m, n = x.shape
    return kind(x, row_names=[f"row {i}" for i in range(m)], feature_names=[f"é{j}" for j in range(n)])


KINDS = pytest.mark.parametrize("kind", [ArraySource, lambda x, **k: SparseSource(sp.csr_array(x), **k)])


@KINDS
@pytest.mark.parametrize("transpose", [False, True])
def test_matrix_and_names_survive(tmp_path, kind, transpose):
    x = matrix()
    done = convert(named(kind, x), tmp_path / "x.zarr", transpose=transpose, chunk_mb=SMALL)
    source = open_source(tmp_path / "x.zarr")
    rows, features = (f"row {i}" for i in range(40)), (f"é{j}" for j in range(30))
    want, rows, features = (x.T, features, rows) if transpose else (x, rows, features)
    np.testing.assert_array_equal(whole(source), want)
    assert source.row_names == tuple(rows)
    assert source.feature_names == tuple(features)
    assert source.is_sparse == (done["kind"] == "csr")
    assert done["shape"] == list(want.shape)
    assert done["nnz"] == source.nnz
    assert done["bytes"] > 0
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]


@settings(max_examples=25, deadline=None)
@given(
    m=st.integers(1, 50),
    n=st.integers(1, 20),
    chunk=st.sampled_from([1e-5, 1e-4, 1e-3, 1]),
    sparse=st.booleans(),
    transpose=st.booleans(),
    seed=st.integers(0, 3),
)
def test_any_shape_and_chunk(tmp_path_factory, m, n, chunk, sparse, transpose, seed):
    x = matrix(m, n, seed)
    path = tmp_path_factory.mktemp("c") / "x.zarr"
    convert(sp.csc_array(x) if sparse else x, path, chunk_mb=chunk, transpose=transpose)
    np.testing.assert_array_equal(whole(open_source(path), 200), x.T if transpose else x)


@settings(max_examples=25, deadline=None)
@given(m=st.integers(1, 40), n=st.integers(1, 40), memory=st.integers(1, 20_000), bins=st.integers(1, 50))
def test_a_transpose_in_any_memory(tmp_path_factory, m, n, memory, bins):
    x = matrix(m, n)
    folder = tmp_path_factory.mktemp("t")
    np.testing.assert_array_equal(whole(transposed_dense(open_source(x), folder / "a", memory)), x.T)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nmfkit.sources.transpose.BINS", bins)
        blocks = list(transposed_rows(open_source(sp.csr_array(x)), folder / "b", memory))
    np.testing.assert_array_equal(np.vstack([b.dense() for b in blocks]), x.T)
    assert all(sp.csr_array((b.values, b.indices, b.indptr), b.shape).has_canonical_format for b in blocks)


def test_the_layout_of_a_dense_store(tmp_path):
    x = np.random.default_rng(0).random((500, 100))
    convert(x, tmp_path / "x.zarr", chunk_mb=0.1)
    group = zarr.open_group(tmp_path / "x.zarr", mode="r")
    assert group.metadata.zarr_format == 3
    assert group.attrs["nmfkit_format"] == 1
    assert group.attrs["source"] == "memory"
    array = group["X"]
    assert array.chunks == (131, 100)
    assert array.nchunks_initialized == array.nchunks
    blosc = array.metadata.codecs[1]
    assert (blosc.cname.value, blosc.shuffle.value, blosc.typesize) == ("lz4", "shuffle", 8)
    np.testing.assert_array_equal(array[:], x)


def test_counts_stored_dense_are_compressed_harder(tmp_path):
    x = np.random.default_rng(0).poisson(0.05, (500, 100)).astype("u2")
    convert(x, tmp_path / "x.zarr")
    array = zarr.open_group(tmp_path / "x.zarr", mode="r")["X"]
    blosc = array.metadata.codecs[1]
    assert (blosc.cname.value, blosc.shuffle.value, array.dtype) == ("zstd", "bitshuffle", np.float32)


def test_rows_are_cut_only_where_they_are_huge():
    assert row_chunks((100, 10), 8, 2**23) == (100, 10)
    assert row_chunks((10**6, 2**20), 4, 2**23) == (2, 2**20)
    assert row_chunks((10**6, 2**24), 4, 2**23) == (1, 2**24)
    assert row_chunks((10**6, 2**24 + 1), 4, 2**23) == (1, 2**21)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_csr_store_opens_in_anndata(tmp_path):
    anndata = pytest.importorskip("anndata")
    x = matrix()
    convert(sp.csr_array(x), tmp_path / "x.zarr", chunk_mb=SMALL)
    group = zarr.open_group(tmp_path / "x.zarr", mode="r")
    assert group["data"].chunks[0] * 8 == 1048
    np.testing.assert_array_equal(anndata.io.read_elem(group).toarray(), x)


@pytest.mark.parametrize("transpose", [False, True])
def test_columns_on_disk_become_rows(tmp_path, transpose):
    x = matrix()
    csc = sp.csc_array(x)
    group = zarr.open_group(tmp_path / "c.zarr", mode="w")
    group.attrs.update({"encoding-type": "csc_matrix", "shape": list(x.shape)})
    for name in ("data", "indices", "indptr"):
        group.create_array(name, data=getattr(csc, name))
    group.create_array("rows", shape=(40,), dtype="str")[:] = np.array([str(i) for i in range(40)])
    convert(tmp_path / "c.zarr", tmp_path / "r.zarr", transpose=transpose)
    source = open_source(tmp_path / "r.zarr")
    np.testing.assert_array_equal(whole(source), x.T if transpose else x)
    names = source.feature_names if transpose else source.row_names
    assert names == tuple(str(i) for i in range(40))


def test_all_zeros_and_negatives_are_no_business_of_convert(tmp_path):
    for i, x in enumerate((np.zeros((3, 2)), sp.csr_array((3, 2)), np.array([[-1, np.nan]]))):
        convert(x, tmp_path / f"{i}.zarr", transpose=bool(i % 2))
        back = whole(open_source(tmp_path / f"{i}.zarr"))
        want = x.toarray() if sp.issparse(x) else x
        np.testing.assert_array_equal(back, want.T if i % 2 else want)


def test_dtype_and_key_and_the_way_through_files(tmp_path):
    np.savez(tmp_path / "x.npz", A=matrix(), B=2 * matrix())
    done = convert(tmp_path / "x.npz", tmp_path / "sub" / "x.zarr", key="B", dtype="float32")
    assert done["dtype"] == "float32"
    source = open_source(tmp_path / "sub" / "x.zarr")
    assert source.dtype == np.float32
    np.testing.assert_array_equal(whole(source), 2 * matrix())
    assert fingerprint(source) == fingerprint(open_source(tmp_path / "x.npz", key="B", dtype="float32"))


# --- all or nothing -----------------------------------------------------------------------------------------


def test_an_existing_output_stays_without_overwrite(tmp_path):
    convert(matrix(), tmp_path / "x.zarr")
    with pytest.raises(StoreError, match="--overwrite"):
        convert(2 * matrix(), tmp_path / "x.zarr")
    np.testing.assert_array_equal(whole(open_source(tmp_path / "x.zarr")), matrix())
    convert(2 * matrix(), tmp_path / "x.zarr", overwrite=True)
    np.testing.assert_array_equal(whole(open_source(tmp_path / "x.zarr")), 2 * matrix())
    convert(tmp_path / "x.zarr", tmp_path / "x.zarr", overwrite=True, transpose=True)
    np.testing.assert_array_equal(whole(open_source(tmp_path / "x.zarr")), 2 * matrix().T)
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]


def test_overwrite_never_removes_other_folders(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("all my work")
    (tmp_path / "file").write_text("more work")
    for name in ("thesis", "file"):
        with pytest.raises(StoreError, match="no output of nmfkit"):
            convert(matrix(), tmp_path / name, overwrite=True)
    assert (tmp_path / "thesis" / "chapter").read_text() == "all my work"
    assert (tmp_path / "file").read_text() == "more work"


class Failing(ArraySource):
    """A source whose later rows cannot be read."""

    error: BaseException

    def bounds(self, target_bytes):
        return [(i, i + 1) for i in range(self.shape[0])]

    def read(self, lo, hi):
        if lo > 20:
            raise self.error
        return super().read(lo, hi)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (SourceError("rows 21"), SourceError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(28, "No space left on device"), StoreError),
    ],
)
def test_a_failed_conversion_leaves_nothing_and_keeps_the_old(tmp_path, transpose, error, seen):
    convert(matrix(), tmp_path / "x.zarr")
    source = Failing(matrix())
    source.error = error
    for name, overwrite in (("x.zarr", True), ("new.zarr", False)):
        with pytest.raises(seen):
            convert(source, tmp_path / name, overwrite=overwrite, transpose=transpose, chunk_mb=SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]
    np.testing.assert_array_equal(whole(open_source(tmp_path / "x.zarr")), matrix())


@pytest.mark.parametrize(
    ("x", "options", "error"),
    [
        (np.ones((2, 2), complex), {}, DataError),
        (np.array([["a"]]), {}, DataError),
        (matrix(), {"chunk_mb": 0}, UsageError),
        (matrix(), {"chunk_mb": float("nan")}, UsageError),
        (matrix(), {"dtype": "int8"}, UsageError),
        ("absent.npy", {}, SourceError),
    ],
)
def test_bad_requests_create_nothing(tmp_path, x, options, error):
    with pytest.raises(error):
        convert(x, tmp_path / "x.zarr", **options)
    assert not list(tmp_path.iterdir())


def test_outputs_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        convert(matrix(), tmp_path / "file" / "x.zarr")
    with pytest.raises(UsageError, match="a local directory"):
        convert(matrix(), "s3://bucket/x.zarr")


# --- damage to what was written -----------------------------------------------------------------------------


def damage(file, how):
    stored = file.read_bytes()
    if how == "missing":
        file.unlink()
    elif how == "short":
        file.write_bytes(stored[: len(stored) // 2])
    elif how == "empty":
        file.write_bytes(b"")
    else:
        file.write_bytes(stored[:30] + bytes([stored[30] ^ 1]) + stored[31:])


@pytest.mark.parametrize("how", ["missing", "short", "empty", "flipped bit"])
@KINDS
def test_every_damage_to_a_converted_store_is_told(tmp_path, how, kind):
    x = matrix() + 1
    convert(kind(x), tmp_path / "x.zarr", chunk_mb=0.003)
    name = "data" if open_source(tmp_path / "x.zarr").is_sparse else "X"
    chunks = sorted((tmp_path / "x.zarr" / name / "c").rglob("*"))
    file = [f for f in chunks if f.is_file()][1]
    damage(file, how)
    source = open_source(tmp_path / "x.zarr")
    np.testing.assert_array_equal(source.read(0, 5).dense(), x[:5])
    with pytest.raises(SourceError, match=r"rows \d+ … \d+"):
        whole(source)


def test_columns_of_many_rows_are_turned_in_little_memory(tmp_path):
    m = 5_000_000
    tall = sp.csc_array((np.ones(3), ([0, 7, m - 1], [0, 1, 1])), shape=(m, 2))
    group = zarr.open_group(tmp_path / "c.zarr", mode="w")
    group.attrs.update({"encoding-type": "csc_matrix", "shape": [m, 2]})
    for name in ("data", "indices", "indptr"):
        group.create_array(name, data=getattr(tall, name))
    rows = list(transposed_rows(open_source(tall.T), tmp_path / "b", 2**22))
    assert max(len(b.indptr) for b in rows) <= 2**17 + 1
    tracemalloc.start()
    convert(tmp_path / "c.zarr", tmp_path / "r.zarr")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300 * 2**20
    source = open_source(tmp_path / "r.zarr")
    assert (source.shape, source.nnz) == ((m, 2), 3)
    np.testing.assert_array_equal(source.read(m - 1, m).dense(), [[0, 1]])


def test_missing_metadata_is_told(tmp_path):
    convert(sp.csr_array(matrix()), tmp_path / "x.zarr")
    shutil.rmtree(tmp_path / "x.zarr" / "indices")
    with pytest.raises(SourceError, match="'indices'"):
        open_source(tmp_path / "x.zarr")


class Endless(ArraySource):
    """Many rows made of few, so that the whole is much larger than any block."""

    def __init__(self, row, m):
        super().__init__(row)
        self.shape = (m, row.shape[1])

    def read(self, lo, hi):
        return type(super().read(0, 1))(np.repeat(self._array, hi - lo, axis=0), lo)


def test_memory_stays_below_the_matrix(tmp_path):
    source = Endless(np.arange(2.0**16).reshape(1, -1), 512)  # 256 MiB
    tracemalloc.start()
    convert(source, tmp_path / "x.zarr", chunk_mb=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20
