"""However many rows a matrix has, opening, cutting and naming it takes little memory."""

from __future__ import annotations

import pickle
import tracemalloc
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import nmfkit
from nmfkit.errors import SourceError
from nmfkit.sources import SparseSource, open_source, tiles
from nmfkit.sources.csr_parts import check_stretches
from nmfkit.sources.names import KEPT, StoredNames
from nmfkit.sources.zarr_csr import ZarrCSR
from nmfkit.sources.zarr_store import Place
from nmfkit.sources.zarr_write import write_names

MIB = 2**20


@contextmanager
def memory_below(limit):
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def csr_store(store, matrix, chunk):
    group = zarr.open_group(store, mode="w")
    group.attrs.update({"encoding-type": "csr_matrix", "shape": list(matrix.shape)})
    for name in ("data", "indices", "indptr"):
        part = getattr(matrix, name)
        group.create_array(name, shape=part.shape, chunks=(max(1, min(chunk, len(part))),), dtype=part.dtype)[:] = part
    return group


# --- CSR ----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    m=st.integers(1, 60),
    n=st.integers(1, 6),
    share=st.sampled_from([0.0, 0.1, 0.7]),
    chunk=st.integers(1, 70),
    stretch=st.integers(1, 70),
    target=st.one_of(st.integers(1, 2000), st.integers(1, 2**40)),
    seed=st.integers(0, 5),
)
def test_blocks_in_zarr_are_those_in_memory(monkeypatch_module, m, n, share, chunk, stretch, target, seed):
    monkeypatch_module.setattr("nmfkit.sources.zarr_indptr.STRETCH", stretch)
    rng = np.random.default_rng(seed)
    matrix = sp.csr_array(rng.integers(1, 9, (m, n)) * (rng.random((m, n)) < share) * 1.0)
    stored, held = open_source(csr_store(zarr.storage.MemoryStore(), matrix, chunk)), SparseSource(matrix)
    assert stored.nnz == held.nnz
    assert stored.bounds(target) == held.bounds(target)
    for lo, hi in held.bounds(target):
        for one, other in zip(_parts(stored.read(lo, hi)), _parts(held.read(lo, hi)), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def _parts(block):
    return block.values, block.indices, block.indptr


def one_by_one(indptr, entry, target):
    """The definition: as many rows as fit into the target, one at least."""
    cost = indptr.astype(np.int64) * entry + 4 * np.arange(len(indptr))
    edges = [0]
    while edges[-1] < len(indptr) - 1:
        fitting = np.flatnonzero(cost <= cost[edges[-1]] + target)[-1]
        edges.append(max(int(fitting), edges[-1] + 1))
    return list(pairwise(edges))


@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=80),
    step=st.integers(1, 90),
    target=st.integers(1, 600),
)
def test_bounds_do_not_depend_on_the_stretches(counts, step, target):
    indptr = np.concatenate([[0], np.cumsum(counts)])
    parts = [(i, indptr[i : i + step]) for i in range(0, len(indptr), step)]
    expected = one_by_one(indptr, 12, target)
    assert tiles.by_stretches(parts, 12, target) == tiles.by_entries(indptr, 12, target) == expected


@given(
    counts=st.lists(st.integers(-1, 3), min_size=1, max_size=30),
    start=st.sampled_from([0, 0, 0, 1]),
    step=st.integers(1, 40),
    entries=st.integers(0, 60),
)
def test_damage_is_the_same_in_any_stretches(counts, start, step, entries):
    indptr = start + np.concatenate([[0], np.cumsum(counts)])
    whole, cut = (
        _outcome([(i, indptr[i : i + size]) for i in range(0, len(indptr), size)], entries) for size in (99, step)
    )
    assert whole == cut
    sound = start == 0 and min(counts) >= 0 and indptr[-1] <= entries
    assert (whole == indptr[-1]) if sound else isinstance(whole, str)


def _outcome(stretches, entries):
    try:
        return check_stretches(stretches, entries)
    except ValueError as error:
        return str(error)


def test_many_rows_take_little_memory(tmp_path):
    m, each = 20_000_000, 1000  # an entry in every thousandth row
    group = zarr.open_group(tmp_path / "x.zarr", mode="w")
    group.attrs.update({"encoding-type": "csr_matrix", "shape": [m, 5]})
    group.create_array("data", data=np.ones(m // each))
    group.create_array("indices", data=np.zeros(m // each, "i4"))
    indptr = group.create_array("indptr", shape=(m + 1,), chunks=(300_000,), dtype="i8")
    for lo in range(0, m + 1, 3_000_000):
        indptr[lo : lo + 3_000_000] = -(-np.arange(lo, min(lo + 3_000_000, m + 1)) // each)
    del indptr
    with memory_below(40 * MIB):
        source = open_source(tmp_path / "x.zarr")
        bounds = source.bounds(MIB)
        entries = [len(source.read(lo, hi).values) for lo, hi in bounds[:3] + bounds[-3:]]
        assert source.entries_before([0, 1, m // 2, m]) == [0, 1, m // each // 2, m // each]
    assert source.nnz == m // each
    assert len(bounds) == 77
    assert sum(entries) > 0
    assert len(pickle.dumps(source)) < 2000


def test_a_worker_checks_only_what_it_reads(tmp_path, monkeypatch):
    matrix = sp.csr_array(np.eye(40))
    source = open_source(csr_store(tmp_path / "x", matrix, 10))
    text = pickle.dumps(source)
    monkeypatch.setattr("nmfkit.sources.zarr_csr.check_length", None)
    monkeypatch.setattr("nmfkit.sources.zarr_indptr.STRETCH", 10)
    (tmp_path / "x" / "indptr" / "c" / "3").write_bytes(b"")
    there = pickle.loads(text)
    assert there.nnz == 40
    np.testing.assert_array_equal(there.read(5, 12).dense(), np.eye(40)[5:12])
    with pytest.raises(SourceError, match=r"indptr: entries 30 … 39 cannot be read"):
        there.read(25, 35)


def test_consecutive_blocks_decode_each_chunk_once(tmp_path, monkeypatch):
    monkeypatch.setattr("nmfkit.sources.zarr_indptr.STRETCH", 10)
    source = open_source(csr_store(tmp_path / "x", sp.csr_array(np.eye(40)), 10))
    loaded, load = [], type(source._indptr)._load
    monkeypatch.setattr(type(source._indptr), "_load", lambda self, start: loaded.append(start) or load(self, start))
    for lo in range(0, 40, 4):
        source.read(lo, lo + 4)
    assert loaded == [0, 10, 20, 30, 40]


def test_an_indptr_that_changes_after_opening_is_told(tmp_path):
    group = csr_store(tmp_path / "x", sp.csr_array(np.eye(4)), 10)
    source = open_source(tmp_path / "x")
    group["indptr"][:] = [0, 1, 0, 3, 9]
    for lo, words in ((0, "decreases at row 1"), (3, "ends at 9")):
        with pytest.raises(SourceError, match=rf"rows {lo} … {lo + (0 if lo else 2)} are damaged: indptr {words}"):
            source.read(lo, lo + (1 if lo else 3))
    assert isinstance(source, ZarrCSR)


# --- names --------------------------------------------------------------------------------------------------


def stored_names(values, chunk=None, version=3, dtype="str"):
    group = zarr.open_group(zarr.storage.MemoryStore(), mode="w", zarr_format=version)
    array = group.create_array("rows", shape=(len(values),), chunks=(chunk or len(values),), dtype=dtype)
    array[:] = np.array(values, dtype=np.dtypes.StringDType() if dtype == "str" else dtype)
    return StoredNames(Place.of(array), len(values))


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.text(st.characters(codec="utf-8"), max_size=20), min_size=1, max_size=40),
    chunk=st.integers(1, 50),
    window=st.integers(1, 50),
    version=st.sampled_from([2, 3]),
    start=st.one_of(st.none(), st.integers(-50, 50)),
    stop=st.one_of(st.none(), st.integers(-50, 50)),
    step=st.sampled_from([None, 1, 2, -1, -3]),
)
def test_stored_names_are_a_sequence(monkeypatch_module, values, chunk, window, version, start, stop, step):
    monkeypatch_module.setattr("nmfkit.sources.names.WINDOW", window)
    names = stored_names(values, chunk, version)
    assert len(names) == len(values)
    assert list(names) == values
    assert names == tuple(values)
    assert tuple(values) == names
    assert names != [*values, "more"]
    assert names != [*values[:-1], values[-1] + "x"]
    assert names[start:stop:step] == tuple(values[start:stop:step])
    assert [names[i] for i in range(-len(values), len(values))] == values * 2
    assert pickle.loads(pickle.dumps(names)) == names
    assert names.index(values[-1]) == values.index(values[-1])
    with pytest.raises(IndexError):
        names[len(values)]


@pytest.mark.parametrize("dtype", ["U5", "S5", "i8"])
def test_names_stored_as_something_else_are_text(dtype):
    assert stored_names(["1", "22", "333"], 2, version=2, dtype=dtype) == ("1", "22", "333")


def test_many_names_are_written_and_read_in_little_memory(tmp_path, monkeypatch):
    window = 2**12
    monkeypatch.setattr("nmfkit.sources.names.WINDOW", window)
    monkeypatch.setattr("nmfkit.sources.zarr_write.NAMES_CHUNK", window)
    many = 5 * KEPT * window  # 20 MiB as Python strings

    class Numbers(StoredNames):
        def __getitem__(self, at):
            return tuple(map(str, range(self.length)[at]))

    group = zarr.open_group(tmp_path / "x.zarr", mode="w")
    with memory_below(5 * MIB):
        write_names(group, "rows", Numbers(Place.of(group), many))
        names = StoredNames(Place.of(group["rows"]), many)
        assert names[many - 1] == str(many - 1)
        assert all(name == str(i) for i, name in enumerate(names))


def test_damaged_names_are_told(tmp_path):
    group = zarr.open_group(tmp_path / "x.zarr", mode="w")
    group.create_array("X", data=np.ones((4, 2)))
    write_names(group, "rows", list("abcd"))
    (tmp_path / "x.zarr" / "rows" / "c" / "0").write_bytes(b"\1\2\3")
    source = open_source(tmp_path / "x.zarr")
    with pytest.raises(SourceError, match=r"rows: the names 0 … 3 cannot be read"):
        list(source.row_names)


@pytest.mark.slow
def test_a_fit_to_more_than_2_31_entries(tmp_path):
    # Every row is the same: one chunk of each part, linked under the name of every other.
    n, m = 2**20, 2100
    group = zarr.open_group(tmp_path / "x.zarr", mode="w")
    group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [m, n]})
    for name, values in (("data", np.ones(n, np.float32)), ("indices", np.arange(n, dtype=np.int32))):
        part = group.create_array(name, shape=(m * n,), chunks=(n,), dtype=values.dtype)
        part[:n] = values
        chunks = tmp_path / "x.zarr" / name / "c"
        for i in range(1, m):
            (chunks / str(i)).hardlink_to(chunks / "0")
    group.create_array("indptr", shape=(m + 1,), chunks=(m + 1,), dtype=np.int64)[:] = n * np.arange(m + 1)
    source = nmfkit.open_source(tmp_path / "x.zarr")
    assert source.nnz == m * n > 2**31
    r = nmfkit.fit(tmp_path / "x.zarr", rank=1, max_sweeps=1, tol=0, dtype="float64", memory="2GiB")
    assert r.objective < 1e-6 * 0.5 * m * n, "a matrix of ones has rank one"
    np.testing.assert_allclose(r.w @ r.h[:, ::100_000], 1, rtol=1e-3)
