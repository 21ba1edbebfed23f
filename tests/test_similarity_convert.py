"""Graphs made symmetric, what is refused, and similarities as stores: written by `convert`, here or on workers."""

from __future__ import annotations

import json
import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import nmfkit
from nmfkit.affinity.graph import Graph
from nmfkit.affinity.kinds import kind_of
from nmfkit.affinity.knn import Knn
from nmfkit.affinity.search import Sizes
from nmfkit.cli.app import app
from nmfkit.errors import Caution, DataError, StoreError, UsageError
from nmfkit.executors.each import serially
from nmfkit.loop import Watcher
from nmfkit.sources import ArraySource, open_source
from nmfkit.sources.about import About


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def exactly(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("data", "indices", "indptr"))


def stored(path):
    """The whole matrix of a store."""
    source = open_source(path)
    block = source.read(0, source.shape[0])
    return sp.csr_array((block.values, block.indices, block.indptr), shape=source.shape)


# --- graphs that are there ----------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(2, 20),
    symmetric=st.sampled_from(["mean", "max"]),
    diagonal=st.sampled_from(["keep", "drop"]),
    normalize=st.sampled_from(["cut", "none"]),
    sparse=st.booleans(),
    block=st.sampled_from([1, 200, 10**6]),
    seed=st.integers(0, 10**6),
)
def test_graphs_are_made_symmetric(n, symmetric, diagonal, normalize, sparse, block, seed):
    rng = np.random.default_rng(seed)
    x = rng.random((n, n)) * (rng.random((n, n)) < 0.4)
    want = (x + x.T) / 2 if symmetric == "mean" else np.maximum(x, x.T)
    if diagonal == "drop":
        np.fill_diagonal(want, 0)
    kind, data = Graph(symmetric, diagonal, normalize), sp.coo_array(x) if sparse else x
    found = kind.weights(open_source(data), serially, Watcher(), Sizes(block))
    np.testing.assert_array_equal(found.toarray(), want)
    kind = f"graph:{symmetric},diagonal={diagonal},normalize={normalize}"
    degrees = want.sum(1)
    if normalize == "cut":
        roots = np.sqrt(np.where(degrees > 0, degrees, 1))
        want = want / np.outer(roots, roots)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = nmfkit.similarity(data, kind)
    alone, looped = np.sum(degrees == 0), np.count_nonzero(np.diag(want))
    heads = [f"{alone} of {n} rows have no edge"] * bool(alone) + [f"{looped} of {n} nodes have an"] * bool(looped)
    assert len(caught) == len(heads)
    for caution, head in zip(caught, heads, strict=True):
        assert str(caution.message).startswith(head)
        assert caution.category is Caution
    np.testing.assert_allclose(made.toarray(), want, rtol=1e-13)
    assert exactly(made, made.T.tocsr())


@pytest.mark.parametrize(("loops", "told"), [(0, False), (2, False), (3, True), (200, True)])
def test_many_edges_of_nodes_to_themselves_are_told(loops, told, tmp_path):
    a = np.roll(np.eye(200), 1, axis=1)
    a[range(loops), range(loops)] = 1
    np.save(tmp_path / "a.npy", a)
    words = ["convert", str(tmp_path / "a.npy"), str(tmp_path / "a.zarr"), "--similarity"]
    done = CliRunner().invoke(app, [*words, "graph"])
    assert done.exit_code == 0
    assert (f"note: {loops} of 200 nodes have an edge to themselves" in done.stderr) == told
    assert ("graph:diagonal=drop" in done.stderr) == told
    done = CliRunner().invoke(app, [*words, "graph:diagonal=drop", "--overwrite"])
    assert (done.exit_code, "themselves" in done.stderr) == (0, False)


def test_a_graph_with_signs_is_taken_without_normalisation():
    x = np.array([[0, -1.0], [-1, 2]])
    with pytest.warns(Caution, match="1 of 2 nodes"):
        made = nmfkit.similarity(x, "graph:normalize=none")
    np.testing.assert_array_equal(made.toarray(), x)
    with pytest.raises(DataError, match=r"a negative entry at row 0, column 1.*normalize=none"):
        nmfkit.similarity(x, "graph")


def test_weights_of_any_size_are_normalised():
    x = np.array([[0, 1e-300, 0], [1e-300, 0, 1e-300], [0, 1e-300, 0]])
    for scale in (1.0, 1e250, 1e300):
        np.testing.assert_allclose(
            nmfkit.similarity(x * scale, "graph").toarray() * np.sqrt(2), (x > 0).astype(float), rtol=1e-12
        )


def test_a_graph_on_disk(data_dir):
    made = nmfkit.similarity(data_dir / "graphs/football.gml", "graph")
    assert made.shape == (115, 115)
    assert made.nnz == 2 * 613
    assert np.linalg.eigvalsh(made.toarray())[-1] == pytest.approx(1, abs=1e-12)


# --- what is refused ----------------------------------------------------------------------------------------

X = np.random.default_rng(0).random((12, 4))
NAN, INF = X.copy(), X.copy()
NAN[3, 2], INF[5, 1] = np.nan, np.inf


@pytest.mark.parametrize(
    ("x", "kind", "error", "said"),
    [
        (X, "nearest", UsageError, "unknown similarity 'nearest'; known: cosine, graph, knn"),
        (X, "cosin", UsageError, "did you mean 'cosine'"),
        (X, 7, UsageError, "similarity 7 is not a text"),
        (X, "knn:3,local=a,locl=2", UsageError, r"unknown parameter 'locl'.*'local'.*local='a': a whole number"),
        (X, "knn:0,local=0,normalize=no", UsageError, r"k 0 .*; local 0 .*; normalize 'no' is not one of cut, none"),
        (X, "cosine:local=3", UsageError, "unknown parameter 'local'"),
        (X, "cosine:-1,normalize=cuts", UsageError, "k -1 is not .*did you mean 'cut'"),
        (X, "graph:sum,diagonal=1,normalize=x", UsageError, r"symmetric 'sum'.*; diagonal '1'.*; normalize 'x'"),
        (X, "graph", DataError, r"12 × 4 is no graph, whose matrix is square.*knn or cosine"),
        (X, "knn:12", DataError, "12 rows are too few: k=12 needs 13; ask for fewer"),
        (X, "knn:20,local=12", DataError, "k=20 needs 21 and local=12 needs 13"),
        (X[:7], "knn", DataError, "7 rows are too few: local=7 needs 8"),
        (X[:1], "cosine", DataError, "1 rows are too few: k=1 needs 2"),
        (NAN, "knn", DataError, "NaN at row 3, column 2: fill it"),
        (NAN, "cosine", DataError, "NaN at row 3, column 2"),
        (sp.csr_array(INF), "knn", DataError, "an infinite value at row 5, column 1: replace it"),
        (sp.csr_array(INF @ INF.T), "graph", DataError, "an infinite value at row 0, column 5"),
    ],
)
def test_refusals(tmp_path, x, kind, error, said):
    for call in (lambda: nmfkit.similarity(x, kind), lambda: nmfkit.convert(x, tmp_path / "a.zarr", similarity=kind)):
        with pytest.raises(error, match=said):
            call()
    assert list(tmp_path.iterdir()) == []


def test_bad_requests_are_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(Knn, "weights", lambda *_: pytest.fail("it began"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    for options, error in (
        ({"dtype": "float16"}, UsageError),
        ({"chunk_mb": 0}, UsageError),
        ({"out": tmp_path / "mine"}, StoreError),
        ({"out": tmp_path / "mine", "overwrite": True}, StoreError),
        ({"out": "s3://bucket/a.zarr"}, UsageError),
        ({"key": "X"}, UsageError),
    ):
        with pytest.raises(error):
            nmfkit.similarity(X, "knn:3", **{"out": tmp_path / "a.zarr", **options})
    with pytest.raises(UsageError, match="written to a local directory"):
        nmfkit.convert(X, "s3://bucket/a.zarr")
    with pytest.raises(UsageError, match="write the transpose first"):
        nmfkit.convert(X, tmp_path / "a.zarr", similarity="knn", transpose=True)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_kinds_are_given_as_objects_too():
    assert kind_of("knn:11,local=5") == Knn(11, 5) == kind_of(Knn(11, 5))
    assert kind_of("KNN:none") == Knn()
    assert exactly(nmfkit.similarity(X, Knn(3)), nmfkit.similarity(X, "knn:3"))


# --- stores -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [None, "float32"])
def test_a_store_has_the_names_on_both_sides(tmp_path, dtype):
    names = [f"é{i}" for i in range(12)]
    source = ArraySource(X, row_names=names, feature_names=list("abcd"), about=About(row_image=(3, 4)))
    done = nmfkit.convert(source, tmp_path / "a.zarr", similarity="knn:3", dtype=dtype)
    made, want = open_source(tmp_path / "a.zarr"), nmfkit.similarity(X, "knn:3", dtype=dtype)
    assert list(made.row_names) == list(made.feature_names) == names
    assert (made.about.row_image, made.about.feature_image) == ((3, 4), (3, 4))
    assert made.dtype == want.dtype == (dtype or "float64")
    assert exactly(stored(tmp_path / "a.zarr"), want)
    assert exactly(want, want.T.tocsr())
    kind = {"kind": "knn", "k": 3, "local": 7, "normalize": "cut"}
    assert done["similarity"] == zarr.open_group(tmp_path / "a.zarr", mode="r").attrs["similarity"] == kind
    assert (done["nnz"], done["isolated"], done["shape"], done["kind"]) == (want.nnz, 0, [12, 12], "csr")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_out_is_written_and_replaced(tmp_path):
    a = nmfkit.similarity(X, "knn:3", out=tmp_path / "a.zarr")
    assert exactly(stored(tmp_path / "a.zarr"), a)
    with pytest.raises(StoreError, match="exists"):
        nmfkit.similarity(X, "cosine:2", out=tmp_path / "a.zarr")
    b = nmfkit.similarity(X, "cosine:2", out=tmp_path / "a.zarr", overwrite=True)
    assert exactly(stored(tmp_path / "a.zarr"), b)


def test_the_command(tmp_path):
    np.save(tmp_path / "x.npy", np.concatenate([X, np.zeros((2, 4))]))
    done = run("convert", tmp_path / "x.npy", tmp_path / "a.zarr", "--similarity", "cosine:3", "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["shape"], facts["isolated"], facts["similarity"]["k"]) == ([14, 14], 2, 3)
    assert "note: 2 of 14 rows have no edge, the first is row 12" in done.stderr
    done = run("convert", tmp_path / "x.npy", tmp_path / "a.zarr", "--similarity", "knn:3", "--overwrite")
    assert "matrix   14 × 14 float64, sparse" in done.stdout
    with pytest.warns(Caution):
        a = nmfkit.similarity(np.load(tmp_path / "x.npy"), "cosine:3")
    assert a.nnz == facts["nnz"]
    for kind, code in (("knm", 2), ("knn:14", 1)):
        done = run("convert", tmp_path / "x.npy", tmp_path / "b.zarr", "--similarity", kind)
        assert (done.exit_code, done.stdout) == (code, "")
    assert not (tmp_path / "b.zarr").exists()


def twice_and_backwards(function, items):
    """Every call twice, each on its own copy of the function, the last first."""
    results = {}
    for _ in range(2):
        for i, item in reversed(list(enumerate(items))):
            results[i] = pickle.loads(pickle.dumps(function))(pickle.loads(pickle.dumps(item)))
    return [results[i] for i in range(len(items))]


@pytest.mark.parametrize("sparse", [False, True])
def test_calls_on_workers_find_the_same(tmp_path, sparse):
    x = np.random.default_rng(1).poisson(0.8, (70, 9)).astype(float)
    nmfkit.convert(sp.csr_array(x) if sparse else x, tmp_path / "x.zarr", chunk_mb=1e-3)
    for kind in (Knn(4), kind_of("cosine:4")):
        source, sizes = open_source(tmp_path / "x.zarr", dtype="float64"), Sizes(1000, 11, 5000)
        calls = []

        def each(function, items, calls=calls):
            calls.append(len(items))
            return twice_and_backwards(function, items)

        away = kind.weights(source, each, Watcher(), sizes)
        assert exactly(away, kind.weights(open_source(x), serially, Watcher()))
        assert len(calls) == 2
        assert calls[1] > 7


@pytest.mark.slow
def test_workers(tmp_path):
    nmfkit.convert("sample:digits", tmp_path / "x.zarr")
    a = nmfkit.similarity(tmp_path / "x.zarr", "knn:5", out=tmp_path / "a.zarr", workers=2)
    assert exactly(a, nmfkit.similarity("sample:digits", "knn:5"))
    assert exactly(a, stored(tmp_path / "a.zarr"))


def test_memory_is_that_of_blocks_and_neighbours(tmp_path):
    x = np.random.default_rng(2).random((2000, 2000))
    nmfkit.convert(x, tmp_path / "x.zarr", chunk_mb=1)
    source, kind, sizes = open_source(tmp_path / "x.zarr", dtype="float64"), Knn(8), Sizes(2**20, 125, 2**19)
    kind.weights(open_source(x[:100]), serially, Watcher(), sizes)  # what is imported is not the data's
    peak = x.nbytes
    for _ in range(3):  # threads that earlier tests have left may take memory, too, but not each time
        if peak >= x.nbytes / 3:
            tracemalloc.start()
            kind.weights(source, serially, Watcher(), sizes)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    assert peak < x.nbytes / 3
