"""`convert` writes the same bytes wherever and however often its calls run."""

from __future__ import annotations

import multiprocessing
import pickle
import random
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nmfkit.errors import SourceError, StoreError
from nmfkit.executors.each import serially
from nmfkit.sources import ArraySource, SparseSource, open_source
from nmfkit.sources.convert import convert
from nmfkit.sources.zarr_write import CALL_BLOCKS, runs


class Away:
    """What makes a source in memory one that lies elsewhere, in blocks of few rows."""

    resident = False
    step = 3

    def bounds(self, target_bytes):
        return list(pairwise([*range(0, self.shape[0], self.step), self.shape[0]]))


class Dense(Away, ArraySource):
    pass


class Sparse(Away, SparseSource):
    pass


def away(x, step=3, sparse=False, **options):
    source = Sparse(sp.csr_array(x), **options) if sparse else Dense(x, **options)
    source.step = step
    return source


def matrix(m=60, n=9, seed=0, share=0.4):
    rng = np.random.default_rng(seed)
    return rng.integers(1, 5, (m, n)) * (rng.random((m, n)) < share) * 1.0


def carried(function):
    return pickle.loads(pickle.dumps(function))


def in_any_order(function, items):
    """Every call twice, each on its own copy of the function, in random orders."""
    items, results = carried(list(items)), {}
    for _ in range(2):
        for i in random.Random(len(items)).sample(range(len(items)), len(items)):
            results[i] = carried(function)(items[i])
    return [carried(results[i]) for i in range(len(items))]


def at_once(function, items):
    """Every call twice, several at the same time."""
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(function, [*items, *items]))
    return results[: len(items)]


def stored(path):
    """Every file of a store."""
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


def alike(folder, src, *ways, **options):
    """The store of `src`, the same by every way."""
    convert(src, folder / "serial.zarr", **options)
    expected = stored(folder / "serial.zarr")
    for i, each in enumerate(ways):
        convert(src, folder / f"{i}.zarr", each=each, **options)
        assert stored(folder / f"{i}.zarr") == expected
    return open_source(folder / "serial.zarr")


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks so small that a small store has many."""
    for module in ("zarr_write", "csr_spread", "convert"):
        monkeypatch.setattr(f"nmfkit.sources.{module}.READ_BYTES", 200)


def dense(source):
    return source.read(0, source.shape[0]).dense()


# --- the same bytes -----------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    m=st.integers(1, 90),
    n=st.integers(1, 12),
    step=st.integers(1, 20),
    chunk=st.sampled_from([1e-5, 3e-5, 1e-4, 3.3e-4, 1e-3, 1]),
    share=st.sampled_from([0.0, 0.02, 0.4, 1.0]),
    empty=st.tuples(st.integers(0, 90), st.integers(0, 90)),
    sparse=st.booleans(),
)
@example(m=1, n=5, step=1, chunk=1e-5, share=1.0, empty=(0, 0), sparse=True)
@example(m=90, n=3, step=1, chunk=3e-5, share=1.0, empty=(5, 80), sparse=True)
@example(m=90, n=3, step=1, chunk=3e-5, share=1.0, empty=(0, 90), sparse=True)
def test_the_same_bytes_in_any_order_and_number(tmp_path_factory, m, n, step, chunk, share, empty, sparse):
    x = matrix(m, n, share=share)
    x[slice(*sorted(empty))] = 0
    folder = tmp_path_factory.mktemp("c")
    names = {"row_names": [f"row {i}" for i in range(m)], "feature_names": [f"é{j}" for j in range(n)]}
    source = alike(folder, away(x, step, sparse, **names), in_any_order, at_once, chunk_mb=chunk)
    np.testing.assert_array_equal(dense(source), x)
    assert source.row_names == names["row_names"]


def test_processes_write_the_same_bytes(tmp_path, small_blocks):
    for name, x in (("dense", matrix(500, 300)), ("sparse", sp.csr_array(matrix(500, 300)))):
        convert(x, tmp_path / f"{name}.zarr", chunk_mb=0.02)
    sizes = []
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:

        def on_workers(function, items):
            sizes.append(len(items))
            return list(pool.map(function, items))

        for name in ("dense", "sparse"):
            folder = tmp_path / f"from {name}"
            folder.mkdir()
            source = alike(folder, tmp_path / f"{name}.zarr", on_workers, chunk_mb=0.05)
            np.testing.assert_array_equal(dense(source), matrix(500, 300))
    assert min(sizes) > 5


def test_stored_names_are_copied_by_calls_too(tmp_path):
    x = matrix(7, 3)
    names = {"row_names": [f"row {i}" for i in range(7)], "feature_names": ["", "b\0c", "é" * 50]}
    convert(ArraySource(x, **names), tmp_path / "x.zarr")
    called = []

    def noting(function, items):
        called.append(type(function).__name__)
        return in_any_order(function, items)

    source = alike(tmp_path, tmp_path / "x.zarr", noting)
    assert called == ["_Names", "_Names", "_Rows"]
    assert source.feature_names == names["feature_names"]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("transpose", [False, True])
def test_what_is_in_memory_and_what_is_turned_stays_in_this_process(tmp_path, sparse, transpose):
    def never(function, items):
        raise AssertionError("spread")

    x = matrix()
    src = away(x, sparse=sparse) if transpose else sp.csr_array(x) if sparse else x
    convert(src, tmp_path / "x.zarr", each=never, transpose=transpose)
    np.testing.assert_array_equal(dense(open_source(tmp_path / "x.zarr")), x.T if transpose else x)


@given(
    cuts=st.sets(st.integers(1, 199)),
    rows=st.integers(1, 250),
)
def test_runs_of_blocks_end_where_chunks_do(cuts, rows):
    found = runs(list(pairwise([0, *sorted(cuts), 200])), rows)
    flat = [block for run in found for block in run]
    assert [lo for lo, _ in flat] == [0, *(hi for _, hi in flat[:-1])]
    assert flat[-1][1] == 200
    assert all(lo < hi for lo, hi in flat)
    assert all(run[-1][1] % rows == 0 for run in found[:-1])
    assert all(len(run) >= CALL_BLOCKS for run in found[:-1])


# --- sources that do not hold what they say -----------------------------------------------------------------


def test_zeros_and_duplicates_on_disk_are_counted_as_read(tmp_path, small_blocks):
    m, n = 50, 6
    rng = np.random.default_rng(0)
    indptr = np.concatenate([[0], np.cumsum(rng.integers(0, 9, m))])
    parts = {
        "data": rng.integers(0, 3, indptr[-1]) * 1.0,
        "indices": rng.integers(0, n, indptr[-1]).astype("i4"),
        "indptr": indptr,
    }
    group = zarr.open_group(tmp_path / "s", mode="w")
    group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [m, n]})
    for name, values in parts.items():
        group.create_array(name, data=values, chunks=(7,))
    source = alike(tmp_path, tmp_path / "s", in_any_order, at_once, chunk_mb=1e-4)
    x = sp.csr_array((parts["data"], parts["indices"], indptr), shape=(m, n)).toarray()
    np.testing.assert_array_equal(dense(source), x)
    assert source.nnz == np.count_nonzero(x) < indptr[-1]


def test_columns_on_disk_are_spread_as_the_rows_that_they_are(tmp_path, small_blocks):
    x = matrix()
    group = zarr.open_group(tmp_path / "c", mode="w")
    group.attrs.update({"encoding-type": "csc_matrix", "shape": list(x.shape)})
    for name in ("data", "indices", "indptr"):
        group.create_array(name, data=getattr(sp.csc_array(x), name))
    called = []

    def noting(function, items):
        called.append(type(function).__name__)
        return in_any_order(function, items)

    source = alike(tmp_path, tmp_path / "c", noting, chunk_mb=1e-4, transpose=True)
    np.testing.assert_array_equal(dense(source), x.T)
    assert called == ["_Write", "_Join"]


class Restless(Sparse):
    """Every reading of a row finds other entries than the one before."""

    def read(self, lo, hi):
        self.shift = getattr(self, "shift", 0) + 1
        return (
            super().read(lo, hi)
            if self.shift % 2
            else SparseSource(sp.csr_array((hi - lo, self.shape[1]))).read(0, hi - lo)
        )


def test_a_source_that_changes_meanwhile_is_told(tmp_path):
    source = Restless(sp.csr_array(matrix(3, 4, share=1.0)))
    with pytest.raises(SourceError, match="changed while they were read; convert it again"):
        convert(source, tmp_path / "x.zarr", each=lambda function, items: serially(function, items))
    assert not list(tmp_path.iterdir())


# --- calls that die -----------------------------------------------------------------------------------------


class Gone(Exception):
    """A worker died."""


class Dying(Away):
    """Every other reading of certain blocks fails, after blocks before them were written."""

    def die_at(self, rows):
        self.readings = dict.fromkeys(rows, 0)

    def read(self, lo, hi):
        if lo in self.readings:
            self.readings[lo] += 1
            if self.readings[lo] % 2:
                raise Gone(f"row {lo}")
        return super().read(lo, hi)


class DyingDense(Dying, ArraySource):
    pass


class DyingSparse(Dying, SparseSource):
    pass


def stubborn(function, items):
    """Runs a call again when it dies."""

    def call(item):
        while True:
            try:
                return function(item)
            except Gone:
                continue

    return [call(item) for item in items]


@pytest.mark.parametrize("sparse", [False, True])
def test_a_call_that_dies_and_runs_again_leaves_no_trace(tmp_path, sparse):
    x = matrix(300, 9)
    source = DyingSparse(sp.csr_array(x)) if sparse else DyingDense(x)
    source.die_at([])
    convert(source, tmp_path / "serial.zarr", chunk_mb=3e-4)
    for rows in ([21], [45, 48, 297], range(3, 300, 24)):
        source.die_at(rows)
        convert(source, tmp_path / "x.zarr", chunk_mb=3e-4, each=stubborn, overwrite=True)
        assert set(source.readings.values()) == {4 if sparse else 2}  # counted, then written
        assert stored(tmp_path / "x.zarr") == stored(tmp_path / "serial.zarr")


def test_a_call_that_fails_for_good_leaves_nothing(tmp_path):
    source = DyingSparse(sp.csr_array(matrix(300, 9)))
    source.die_at([150])
    with pytest.raises(Gone):
        convert(source, tmp_path / "x.zarr", chunk_mb=3e-4, each=at_once)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sparse", [False, True])
def test_a_call_that_outlives_its_conversion_brings_nothing_back(tmp_path, sparse):
    left = []

    def given_up(function, items):
        left.extend((function, item) for item in items)
        if type(function).__name__ == "_Count":
            return serially(function, items)
        raise Gone("all of them")

    with pytest.raises(Gone):
        convert(away(matrix(), sparse=sparse), tmp_path / "x.zarr", chunk_mb=3e-4, each=given_up)
    for function, item in left:
        if type(function).__name__ != "_Count":
            with pytest.raises((StoreError, FileNotFoundError)):
                function(item)
    assert not list(tmp_path.iterdir())
