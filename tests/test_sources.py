"""Every way to hand over a matrix gives the same matrix; what cannot be read is refused with the reason."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from nmfkit.errors import DataError, NmfkitError, SourceError, UsageError
from nmfkit.sources import ArraySource, fingerprint, open_source, tiles
from nmfkit.sources.csr_parts import check_indptr, index_dtype
from nmfkit.sources.zarr_read import GROUP_BYTES
from nmfkit.sources.zarr_store import Place

LZ4 = zarr.codecs.BloscCodec(cname="lz4", typesize=8)


class Frame:
    """A table of another library, as pandas has them."""

    def to_numpy(self):
        return np.ones((2, 2))


def matrix(m=23, n=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, (m, n)) * (rng.random((m, n)) < 0.6) * 1.0


def whole(source, target=100):
    """Every row, read block by block."""
    blocks = [source.read(lo, hi) for lo, hi in source.bounds(target)]
    assert [b.first for b in blocks] == [lo for lo, _ in source.bounds(target)]
    assert {b.dtype for b in blocks} == {source.dtype}
    return np.vstack([b.dense() for b in blocks])


def dense_zarr(path, x, chunks, version=3, **options):
    array = zarr.create_array(path, shape=x.shape, chunks=chunks, dtype=x.dtype, zarr_format=version, **options)
    array[:] = x
    return array


def csr_zarr(path, x, encoding="csr_matrix", version=3, chunk=5):
    group = zarr.open_group(path, mode="w", zarr_format=version)
    compressed = sp.csr_array(x) if encoding == "csr_matrix" else sp.csc_array(x)
    group.attrs.update({"encoding-type": encoding, "encoding-version": "0.1.0", "shape": list(x.shape)})
    for name in ("data", "indices", "indptr"):
        part = getattr(compressed, name)
        group.create_array(name, shape=part.shape, chunks=(chunk,), dtype=part.dtype)[:] = part
    return group


def chunk_files(path):
    return sorted(f for f in Path(path).rglob("*") if f.is_file() and f.name[0] not in ".z" and "c" in f.parts)


# --- arrays in memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lay",
    [
        lambda x: x,
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x[::-1].copy()[::-1],
        lambda x: x.astype(">f8"),
        sp.csr_array,
        sp.csc_array,
        sp.coo_array,
        sp.lil_array,
        sp.dia_array,
        sp.csr_matrix,
        sp.csc_matrix,
    ],
)
@pytest.mark.parametrize("target", [1, 100, 10**6])
def test_every_layout_is_the_same_matrix(lay, target):
    x = matrix()
    source = open_source(lay(x))
    assert source.shape == x.shape
    assert source.dtype == np.float64
    np.testing.assert_array_equal(whole(source, target), x)


@pytest.mark.parametrize(
    ("dtype", "blocks"),
    [
        *((t, "f4") for t in ("bool", "i1", "u1", "i2", "u2", "f2", "f4")),
        *((t, "f8") for t in ("i4", "u4", "i8", "u8", "f8", "g")),
    ],
)
@pytest.mark.parametrize("lay", [np.asarray, sp.csr_array, sp.csc_array])
def test_blocks_are_float32_where_that_is_exact_and_float64_elsewhere(dtype, blocks, lay):
    if lay is not np.asarray and dtype in ("f2", "g"):
        pytest.skip("SciPy has no sparse matrices of this dtype")
    x = matrix().astype(dtype)
    source = open_source(lay(x))
    assert source.dtype == np.dtype(blocks)
    np.testing.assert_array_equal(whole(source), x.astype(blocks))
    assert open_source(lay(x), dtype="float32").dtype == np.float32


def test_blocks_of_an_array_are_views():
    x = matrix()
    assert np.shares_memory(open_source(x).read(3, 9).values, x)


def test_a_read_only_array_is_read():
    x = matrix()
    x.flags.writeable = False
    np.testing.assert_array_equal(whole(open_source(x)), x)


def test_duplicates_are_summed_and_zeros_dropped_without_touching_the_users_matrix():
    data = np.array([100, 100, 0, 5, 7], dtype=np.int8)
    indices, indptr = np.array([2, 2, 0, 3, 1]), np.array([0, 3, 5])
    theirs = sp.csr_array((data, indices, indptr), shape=(2, 4))
    source = open_source(theirs)
    np.testing.assert_array_equal(whole(source), [[0, 0, 200, 0], [0, 7, 0, 5]])
    assert source.nnz == 3
    assert theirs.nnz == 5
    np.testing.assert_array_equal(theirs.indices, indices)
    np.testing.assert_array_equal(theirs.data, data)


def test_narrow_integers_do_not_overflow_on_the_way_from_coordinates():
    coo = sp.coo_array((np.full(3, 100, np.int8), ([0, 0, 0], [1, 1, 1])), shape=(1, 2))
    np.testing.assert_array_equal(whole(open_source(coo)), [[0, 300]])


def test_blocks_have_one_index_type():
    x = sp.csr_array(matrix())
    wide = sp.csr_array(x)
    wide.indices, wide.indptr = x.indices.astype(np.int64), x.indptr.astype(np.int64)
    for block in (open_source(wide).read(0, 5), open_source(x).read(5, 9)):
        assert block.indices.dtype == block.indptr.dtype == np.int32


def test_indices_beyond_32_bits_are_kept():
    column = 2**31 + 5
    source = open_source(sp.csr_array((np.ones(2), ([0, 2], [3, column])), shape=(3, column + 1)))
    block = source.read(0, 3)
    assert block.indices.dtype == np.int64
    np.testing.assert_array_equal(block.indices, [3, column])


def test_indptr_beyond_32_bits_is_kept():
    big = 2**31
    indptr = check_indptr(np.array([0, big, big + 3]), 2, big + 3)
    assert indptr.dtype == np.int64
    assert tiles.by_entries(indptr, 8, 100) == [(0, 1), (1, 2)]
    assert index_dtype(big) is np.int64
    assert index_dtype(big - 1) is np.int32


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.ones(3), "2 dimensions"),
        (np.ones((2, 2, 2)), "2 dimensions"),
        (np.ones(()), "2 dimensions"),
        (np.ones((0, 4)), "empty"),
        (np.ones((4, 0)), "empty"),
        (np.ones((2, 2), complex), "complex"),
        (np.array([["a", "b"]]), "text"),
        (np.array([[b"a", b"b"]]), "text"),
        (np.array([[1, None]], dtype=object), "Python objects"),
        (np.array([["2020-01-01"]], dtype="M8[D]"), "dates"),
        (sp.csr_array((3, 0)), "empty"),
        (sp.coo_array(np.ones(3)), "2 dimensions"),
        (sp.csr_array(np.ones((2, 2), complex)), "complex"),
        ([[1, 2]], r"a list is no matrix that can be read; pass np\.asarray\(x, dtype=float\)"),
        (Frame(), r"a Frame is no matrix that can be read; pass its \.to_numpy\(\)"),
        (None, "NoneType"),
        (np.ma.masked_less([[1.0, 2], [-9, 4]], 0), "1 entries are masked .the first at 1, 0., which are missing"),
    ],
)
def test_what_is_no_matrix_of_real_numbers_is_refused(x, words):
    with pytest.raises(DataError, match=words):
        open_source(x)


def test_a_masked_array_without_masked_entries_is_its_data():
    x = matrix()
    for mask in (np.ma.nomask, np.zeros(x.shape, bool)):
        source = open_source(np.ma.MaskedArray(x, mask=mask))
        assert np.shares_memory(source.read(3, 9).values, x)
        assert type(source.read(3, 9).values) is np.ndarray
        np.testing.assert_array_equal(whole(source), x)


WAYS = {
    "array": lambda x, path: x,
    "strided": lambda x, path: np.repeat(x, 2, axis=1)[:, ::2],
    "npy": lambda x, path: np.save(path / "x.npy", x) or path / "x.npy",
    "source": lambda x, path: ArraySource(x),
    "zarr": lambda x, path: dense_zarr(path / "x.zarr", x, (5, 7)),
    "csr.zarr": lambda x, path: csr_zarr(path / "x.zarr", x),
    **{kind.__name__: lambda x, path, kind=kind: kind(x) for kind in (sp.csr_array, sp.csc_array, sp.coo_array)},
    **{kind.__name__: lambda x, path, kind=kind: kind(x) for kind in (sp.lil_array, sp.dok_array, sp.dia_array)},
}


@pytest.mark.parametrize("way", WAYS)
def test_what_float32_cannot_hold_is_refused_not_made_infinite(way, tmp_path):
    x = matrix()
    x[7, 3] = 1e300
    with pytest.raises(DataError, match=r"1e\+300 is outside the range of float32; use dtype float64"):
        whole(open_source(WAYS[way](x, tmp_path), dtype="float32"))


@pytest.mark.parametrize("way", WAYS)
def test_what_is_too_small_for_float32_becomes_zero(way, tmp_path):
    x = matrix()
    x[7, 3] = 1e-60
    np.testing.assert_array_equal(whole(open_source(WAYS[way](x, tmp_path), dtype="float32")), np.where(x < 1e-9, 0, x))


@pytest.mark.skipif(np.finfo("g").max == np.finfo("d").max, reason="long double is no wider than float64 here")
def test_what_float64_cannot_hold_is_refused():
    with pytest.raises(DataError, match="is outside the range of float64; scale the data down"):
        whole(open_source(np.full((2, 2), np.finfo("g").max)))


def test_infinities_pass_a_cast_and_are_left_to_the_probe():
    assert np.isinf(open_source(np.full((2, 2), np.inf), dtype="float32").read(0, 2).values).all()


def test_a_broken_sparse_matrix_is_refused():
    x = sp.csr_array(matrix())
    x.indices = x.indices + 100
    with pytest.raises(DataError, match=r"column index \d+ is outside the 7 columns"):
        open_source(x)


@pytest.mark.parametrize("indptr", [[0, 10**6, 0], [0, -5, 0], [0, 9, 1], [2, 1, 1]])
@pytest.mark.parametrize("make", [sp.csr_array, sp.csc_array])
def test_a_broken_indptr_is_refused_before_it_is_followed(make, indptr):
    x = make((2, 2))
    x.data, x.indices = np.ones(1), np.zeros(1, np.int32)
    x.indptr = np.array(indptr, np.int32)
    with pytest.raises(DataError, match="not a valid sparse matrix: indptr"):
        open_source(x)


@pytest.mark.parametrize("dtype", ["int32", "complex128", "nonsense", "float16"])
def test_other_dtypes_of_blocks_are_refused(dtype):
    with pytest.raises(UsageError, match="float32 or float64"):
        open_source(matrix(), dtype=dtype)


def test_a_key_of_an_array_is_refused():
    with pytest.raises(UsageError, match="key 'a'"):
        open_source(matrix(), key="a")


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("absent.npy", SourceError, "does not exist"),
        ("absent.zarr", SourceError, "does not exist"),
        ("absent", SourceError, "does not exist"),
        ("here.csvv", UsageError, r"did you mean '.csv'\?; known: .*\.mtx\.gz"),
        ("here.xyz", UsageError, r"known: .*\.npz"),
        ("sample:digit", UsageError, r"did you mean 'sample:digits'\?"),
        ("folder", SourceError, "without zarr metadata"),
        ("empty.zarr", SourceError, "no zarr array or group"),
        ("broken.zarr", SourceError, "broken.zarr"),
        ("https://host.invalid/x.npy", NmfkitError, ""),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_paths_that_are_no_matrix_are_refused(name, error, words, tmp_path):
    (tmp_path / "here.csvv").touch()
    (tmp_path / "here.xyz").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.zarr").mkdir()
    (tmp_path / "broken.zarr").mkdir()
    (tmp_path / "broken.zarr" / "zarr.json").write_text("{")
    with pytest.raises(error, match=words):
        open_source(name if ":" in name else tmp_path / name)


# --- sources as sources -------------------------------------------------------------------------------------


def test_a_source_is_taken_as_it_is_and_cast_where_asked():
    source = ArraySource(matrix(), row_names=[str(i) for i in range(23)])
    assert open_source(source) is source
    cast = open_source(source, dtype="float32")
    assert cast.dtype == np.float32
    assert cast.row_names == source.row_names
    np.testing.assert_array_equal(whole(pickle.loads(pickle.dumps(cast))), matrix())


def test_a_memory_map_travels_as_its_file_name(tmp_path):
    x = matrix(2000, 50)
    np.save(tmp_path / "x.npy", x)
    for view in (np.s_[:], np.s_[5:900:3, ::-2]):
        source = open_source(np.load(tmp_path / "x.npy", mmap_mode="r")[view])
        text = pickle.dumps(source)
        assert len(text) < 2000
        np.testing.assert_array_equal(whole(pickle.loads(text)), x[view])
    assert source.read(0, 5).values.flags.c_contiguous


def test_a_map_that_is_gone_is_told(tmp_path):
    np.save(tmp_path / "x.npy", matrix())
    text = pickle.dumps(open_source(tmp_path / "x.npy"))
    (tmp_path / "x.npy").unlink()
    with pytest.raises(SourceError, match=r"x\.npy"):
        pickle.loads(text)


def test_fingerprints_tell_data_apart_but_not_places(tmp_path):
    x = matrix()
    np.save(tmp_path / "x.npy", x)
    assert fingerprint(open_source(x)) == fingerprint(open_source(tmp_path / "x.npy"))
    assert fingerprint(open_source(sp.csc_array(x))) == fingerprint(open_source(csr_zarr(tmp_path / "s", x)))
    changed = x.copy()
    changed[-1, 0] += 1
    prints = [fingerprint(open_source(y)) for y in (x, changed, x[:-1], sp.csr_array(x), x.astype("f4"))]
    assert len(set(prints)) == len(prints)


@given(
    m=st.integers(1, 300),
    n=st.integers(1, 9),
    chunk=st.integers(1, 400),
    target=st.integers(1, 5000),
    seed=st.integers(0, 9),
)
def test_bounds_tile_the_rows_exactly(m, n, chunk, target, seed):
    indptr = np.concatenate([[0], np.cumsum(np.random.default_rng(seed).integers(0, 9, m))])
    for bounds in (
        tiles.by_bytes((m, n), 8, target),
        tiles.by_chunks((m, n), 8, chunk, target),
        tiles.by_entries(indptr, 12, target),
    ):
        assert bounds[0][0] == 0
        assert bounds[-1][1] == m
        assert all(lo < hi for lo, hi in bounds)
        assert all(a[1] == b[0] for a, b in pairwise(bounds))


def test_bounds_follow_chunks_and_split_only_the_huge():
    assert tiles.by_chunks((100, 1), 1, 10, 25) == tiles.even(100, 20)
    assert tiles.by_chunks((100, 1), 1, 30, 10) == tiles.even(100, 30)
    inside = tiles.by_chunks((100, 1), 1, 90, 10)
    assert {(0, 10), (80, 90), (90, 100)} <= set(inside)


def test_opening_arrays_imports_neither_zarr_nor_scipy():
    code = (
        "import sys, numpy as np; from nmfkit.sources import open_source; open_source(np.ones((2, 2))).read(0, 1);"
        "print([m for m in ('zarr', 'scipy', 'dask', 'nmfkit.registry') if m in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "[]"


# --- zarr ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dtype", ["f8", "f4", "u1", ">f4"])
@pytest.mark.parametrize("chunks", [(5, 7), (4, 3), (50, 50), (1, 1)])
def test_dense_zarr(tmp_path, version, dtype, chunks):
    x = matrix().astype(dtype)
    array = dense_zarr(tmp_path / "x", x, chunks, version)
    for source in (open_source(tmp_path / "x"), open_source((tmp_path / "x").as_uri()), open_source(array)):
        again = pickle.loads(pickle.dumps(source))
        for target in (1, 300, 10**6):
            np.testing.assert_array_equal(whole(again, target), x)
    assert len(pickle.dumps(source)) < 2000


@settings(max_examples=25, deadline=None)
@given(
    m=st.integers(1, 40),
    n=st.integers(1, 10),
    rows=st.integers(1, 45),
    columns=st.integers(1, 12),
    target=st.integers(1, 4000),
    forced=st.sampled_from([None, "float32"]),
)
def test_any_chunks_and_any_blocks_are_the_same_matrix(m, n, rows, columns, target, forced):
    x = matrix(m, n)
    array = dense_zarr(zarr.storage.MemoryStore(), x, (rows, columns))
    np.testing.assert_array_equal(whole(open_source(array, dtype=forced), target), x)


def test_sharded_zarr_and_a_store_without_a_path(tmp_path):
    x = matrix(24, 6)
    dense_zarr(tmp_path / "x", x, (2, 3), shards=(8, 6))
    np.testing.assert_array_equal(whole(open_source(tmp_path / "x")), x)
    memory = dense_zarr(zarr.storage.MemoryStore(), x, (5, 6))
    np.testing.assert_array_equal(whole(pickle.loads(pickle.dumps(open_source(memory)))), x)


def test_a_remote_store_keeps_its_uri():
    pytest.importorskip("fsspec")
    x = matrix()
    for uri in ("memory://nmfkit-dense.zarr", "memory://nmfkit-csr.zarr"):
        dense_zarr(uri, x, (5, 7)) if "dense" in uri else csr_zarr(uri, x)
        source = open_source(uri)
        assert source.uri == uri
        np.testing.assert_array_equal(whole(pickle.loads(pickle.dumps(source))), x)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("target", [1, 60, 10**6])
def test_csr_zarr(tmp_path, version, target):
    x = matrix()
    x[4:9] = 0
    group = csr_zarr(tmp_path / "x.zarr", x, version=version)
    for source in (open_source(tmp_path / "x.zarr"), open_source(group), open_source(group, dtype="f4")):
        assert source.is_sparse
        assert source.nnz == np.count_nonzero(x)
        again = pickle.loads(pickle.dumps(source))
        np.testing.assert_array_equal(whole(again, target), x)


def test_an_array_that_was_opened_shows_where_it_lies(tmp_path):
    dense_zarr(tmp_path / "x", matrix(), (5, 7))
    assert str(Place(str(tmp_path / "x")).open_array().store_path) == str(tmp_path / "x")


def test_csr_zarr_is_made_canonical(tmp_path):
    group = csr_zarr(tmp_path / "x.zarr", np.eye(2, 4))
    for name, part in (("data", [1.0, 2, 0, 5, 7]), ("indices", [2, 2, 0, 3, 1]), ("indptr", [0, 3, 5])):
        group.create_array(name, data=np.array(part), overwrite=True)
    block = open_source(group).read(0, 2)
    np.testing.assert_array_equal(block.dense(), [[0, 0, 3, 0], [0, 7, 0, 5]])
    np.testing.assert_array_equal(block.indices, [2, 1, 3])


@pytest.mark.parametrize(
    ("part", "values", "words"),
    [
        ("indptr", [0, 3, 2], "decreases at row 1"),
        ("indptr", [1, 1, 2], "starts at 1"),
        ("indptr", [0, 1, 99], "only 2 entries"),
        ("indptr", [0, 2], "2 rows need"),
        ("indices", [0, 4], "rows 0 … 1 are damaged: column index 4 is outside the 4 columns"),
        ("indices", [0, -1], "column index -1"),
    ],
)
def test_damaged_csr_parts_are_refused(tmp_path, part, values, words):
    group = csr_zarr(tmp_path / "x.zarr", np.eye(2, 4))
    group.create_array(part, data=np.array(values), overwrite=True)
    with pytest.raises(SourceError, match=words):
        whole(open_source(group), 10**6)


def test_columns_on_disk_are_refused_with_the_way_out(tmp_path):
    with pytest.raises(SourceError, match="nmfkit convert"):
        open_source(csr_zarr(tmp_path / "x.zarr", matrix(), "csc_matrix"))


def test_the_matrix_of_a_group_is_found_or_asked_for(tmp_path):
    group = zarr.open_group(tmp_path / "g", mode="w")
    with pytest.raises(SourceError, match=r"holds no matrix.*It is empty"):
        open_source(tmp_path / "g")
    group.create_array("labels", data=np.arange(3))
    group.create_array("a", data=matrix(3, 4))
    np.testing.assert_array_equal(whole(open_source(tmp_path / "g")), matrix(3, 4))
    group.create_array("b", data=matrix(3, 2))
    with pytest.raises(SourceError, match="choose one with --key NAME: a 3×4, b 3×2"):
        open_source(tmp_path / "g")
    np.testing.assert_array_equal(whole(open_source(tmp_path / "g", key="b")), matrix(3, 2))
    with pytest.raises(UsageError, match=r"'c' does not exist\. It holds: a 3×4, b 3×2, labels 3"):
        open_source(tmp_path / "g", key="c")
    with pytest.raises(DataError, match="2 dimensions"):
        open_source(tmp_path / "g", key="labels")
    with pytest.raises(UsageError, match="single array"):
        open_source(tmp_path / "g" / "a", key="b")
    np.testing.assert_array_equal(whole(open_source(tmp_path / "g" / "a")), matrix(3, 4))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("lay", [np.asarray, sp.csr_matrix, sp.csc_matrix])
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_anndata_stores(tmp_path, version, lay):
    anndata = pytest.importorskip("anndata")
    import pandas as pd

    x = matrix(6, 4)
    obs, var = (pd.DataFrame(index=[f"{k}{i}" for i in range(s)]) for k, s in (("cell", 6), ("gene", 4)))
    before = anndata.settings.zarr_write_format
    try:
        anndata.settings.zarr_write_format = version
        anndata.AnnData(lay(x), obs, var, layers={"raw": sp.csr_matrix(2 * x)}).write_zarr(tmp_path / "a.zarr")
    finally:
        anndata.settings.zarr_write_format = before
    raw = open_source(tmp_path / "a.zarr", key="layers/raw")
    np.testing.assert_array_equal(whole(raw), 2 * x)
    if lay is sp.csc_matrix:
        with pytest.raises(SourceError, match="nmfkit convert"):
            open_source(tmp_path / "a.zarr")
        return
    source = open_source(tmp_path / "a.zarr")
    np.testing.assert_array_equal(whole(source), x)
    for named in (source, raw):
        assert named.row_names == tuple(obs.index)
        assert named.feature_names == tuple(var.index)


# --- damage -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("codec", ["blosc", "zstd", "gzip", "none"])
@pytest.mark.parametrize("left", [0, 3, 20, -1])
def test_a_chunk_cut_short_is_told_with_its_rows(tmp_path, version, codec, left):
    x = np.random.default_rng(0).random((30, 8))
    dense_zarr(tmp_path / "x", x, (10, 8), version, compressors=compressor(codec, version))
    files = [tmp_path / "x" / "1.0"] if version == 2 else [tmp_path / "x" / "c" / "1" / "0"]
    stored = files[0].read_bytes()
    files[0].write_bytes(stored[:left])
    source = open_source(tmp_path / "x")
    np.testing.assert_array_equal(source.read(0, 10).values, x[:10])
    np.testing.assert_array_equal(source.read(20, 30).values, x[20:])
    with pytest.raises(SourceError, match=r"x: rows \d+ … \d+ cannot be read"):
        source.read(10, 20)


def compressor(codec, version):
    import numcodecs

    if codec == "none":
        return None
    v2 = {"blosc": numcodecs.Blosc(), "zstd": numcodecs.Zstd(), "gzip": numcodecs.GZip()}
    v3 = {"blosc": LZ4, "zstd": zarr.codecs.ZstdCodec(), "gzip": zarr.codecs.GzipCodec()}
    return (v2 if version == 2 else v3)[codec]


def test_a_missing_chunk_of_a_foreign_store_is_zeros(tmp_path):
    x = matrix(30, 4) + 1
    dense_zarr(tmp_path / "x", x, (10, 4))
    (tmp_path / "x" / "c" / "1" / "0").unlink()
    np.testing.assert_array_equal(open_source(tmp_path / "x").read(10, 20).values, np.zeros((10, 4)))


def test_damage_to_csr_names_rows(tmp_path):
    csr_zarr(tmp_path / "x", matrix() + 1, chunk=50)
    source = open_source(tmp_path / "x")
    file = tmp_path / "x" / "data" / "c" / "1"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(SourceError, match=r"rows 10 … 12: entries \d+ … \d+ cannot be read"):
        source.read(10, 13)


def test_a_read_holds_little_besides_its_result(tmp_path):
    import tracemalloc

    x = np.random.default_rng(0).random((64, 2**17), dtype="f4")  # 32 MiB in chunks of 1 MiB
    dense_zarr(tmp_path / "x", x, (2, 2**17), compressors=LZ4)
    source = open_source(tmp_path / "x")
    source.read(0, 2)
    tracemalloc.start()
    values = source.read(0, 64).values
    extra = tracemalloc.get_traced_memory()[1] - values.nbytes
    tracemalloc.stop()
    assert extra < 2.5 * GROUP_BYTES
