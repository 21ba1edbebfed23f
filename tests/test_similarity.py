"""The similarity of rows: the graph of a brute-force oracle, to the bit however the data are cut."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh
from scipy.sparse.csgraph import connected_components

import nmfkit
from nmfkit.affinity.angle import Angle
from nmfkit.affinity.cosine import Cosine
from nmfkit.affinity.knn import Knn
from nmfkit.affinity.search import Sizes
from nmfkit.errors import Caution
from nmfkit.executors.each import serially
from nmfkit.loop import Watcher
from nmfkit.sources import open_source


def weights(kind, x, *sizes, each=serially):
    """The graph before it is normalised, found with blocks of such sizes."""
    return kind.weights(open_source(x, dtype="float64"), each, Watcher(), Sizes(*sizes))


def exactly(a, b):
    """The same entries at the same places."""
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("data", "indices", "indptr"))


def quietly(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)
        return nmfkit.similarity(*arguments, **options)


# --- oracles: every pair, one after the other ---------------------------------------------------------------


def joined(similar, nearest):
    """The weights of pairs of which one is near the other."""
    near = np.zeros(similar.shape, bool)
    for i, columns in enumerate(nearest):
        near[i, columns] = True
    return np.where(near | near.T, similar, 0.0)


def oracle_knn(x, k, local):
    n = len(x)
    squares = np.array([[np.sum((a - b) ** 2) for b in x] for a in x])
    order = [sorted((j for j in range(n) if j != i), key=lambda j: (squares[i, j], j)) for i in range(n)]
    scale = np.array([np.sqrt(squares[i, order[i][local - 1]]) for i in range(n)])
    similar = np.ones((n, n))
    for i, j in zip(*np.nonzero(squares), strict=True):
        product = scale[i] * scale[j]
        similar[i, j] = np.exp(-squares[i, j] / product) if product else 0.0
    return joined(similar, [o[:k] for o in order])


def oracle_cosine(x, k):
    n = len(x)
    dots, squares = x @ x.T, (x * x).sum(1)
    similar = np.zeros((n, n))
    for i, j in zip(*np.nonzero(dots > 0), strict=True):
        similar[i, j] = min(1.0, dots[i, j] / np.sqrt(squares[i] * squares[j]))
    order = [
        sorted((j for j in range(n) if j != i and similar[i, j] > 0), key=lambda j: (-similar[i, j], j))
        for i in range(n)
    ]
    return joined(similar, [o[:k] for o in order])


def oracle_cut(a):
    degrees = a.sum(1)
    roots = np.where(degrees > 0, 1 / np.sqrt(np.where(degrees > 0, degrees, 1)), 0)
    return roots[:, None] * a * roots


# Small whole numbers: many rows are equal, many distances too, and each is exact.
COUNTS = {
    "n": st.integers(4, 40),
    "features": st.integers(1, 5),
    "high": st.integers(0, 4),
    "k": st.integers(1, 12),
    "local": st.integers(1, 12),
    "block": st.sampled_from([1, 100, 500, 2**20]),
    "rows": st.integers(1, 50),
    "tile": st.sampled_from([1, 200, 3000, 2**20]),
    "sparse": st.booleans(),
    "seed": st.integers(0, 10**6),
}


def whole_numbers(n, features, high, seed, low=0):
    return np.random.default_rng(seed).integers(low, high, (n, features), endpoint=True).astype(float)


@settings(max_examples=40, deadline=None)
@given(**COUNTS)
def test_knn_is_that_of_all_pairs(n, features, high, k, local, block, rows, tile, sparse, seed):
    x, k, local = whole_numbers(n, features, high, seed), min(k, n - 1), min(local, n - 1)
    found = weights(Knn(k, local), sp.csr_array(x) if sparse else x, block, rows, tile)
    np.testing.assert_allclose(found.toarray(), oracle_knn(x, k, local), rtol=1e-12, atol=0)


@settings(max_examples=40, deadline=None)
@given(low=st.integers(-2, 0), **{name: COUNTS[name] for name in COUNTS if name != "local"})
def test_cosine_is_that_of_all_pairs(n, features, high, low, k, block, rows, tile, sparse, seed):
    x, k = whole_numbers(n, features, high, seed, low), min(k, n - 1)
    found = weights(Cosine(k), sp.csr_array(x) if sparse else x, block, rows, tile)
    np.testing.assert_allclose(found.toarray(), oracle_cosine(x, k), rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", [Knn(5, 7), Cosine(5)])
@pytest.mark.parametrize(("sparse", "offset"), [(False, 0.0), (True, 0.0), (False, 1e7)])
def test_the_same_bits_however_the_data_are_cut(kind, sparse, offset):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((41, 13)) * (rng.random((41, 13)) < 0.4) + offset
    x = sp.csr_array(x) if sparse else x
    want = weights(kind, x)
    for sizes in ((1, 1, 1), (300, 7, 2000), (2000, 41, 500), (900, 3, 10**6), (10**6, 32, 999)):
        assert exactly(weights(kind, x, *sizes), want)


@pytest.mark.parametrize("kind", ["knn:4", "cosine:4"])
def test_dense_and_sparse_rows_have_one_graph(kind):
    x = np.random.default_rng(1).poisson(0.7, (80, 12)).astype(float)
    assert exactly(quietly(x, kind), quietly(sp.csr_array(x), kind))
    values = np.where(x > 0, np.random.default_rng(2).random(x.shape), 0)
    np.testing.assert_allclose(
        quietly(values, kind).toarray(), quietly(sp.csc_array(values), kind).toarray(), rtol=1e-12
    )


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(4, 60), spread=st.floats(-3, 3), seed=st.integers(0, 10**6), kind=st.sampled_from(["knn", "cosine"])
)
def test_symmetric_to_the_bit_with_eigenvalues_in_one(n, spread, seed, kind):
    x = np.random.default_rng(seed).lognormal(0, 10**spread / 10, (n, 3))
    text = f"knn:3,local={min(7, n - 1)}" if kind == "knn" else "cosine:3"
    for normalize in ("cut", "none"):
        a = quietly(x, f"{text},normalize={normalize}")
        assert exactly(a, a.T.tocsr())
        assert not a.diagonal().any()
        assert a.has_canonical_format
        assert (a.data > 0).all()
    cut = quietly(x, text)
    np.testing.assert_allclose(cut.toarray(), oracle_cut(quietly(x, f"{text},normalize=none").toarray()), rtol=1e-12)
    values = np.linalg.eigvalsh(cut.toarray())
    assert values[-1] == pytest.approx(1, abs=1e-12)
    assert values[0] >= -1 - 1e-12


# --- what must not matter -----------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [-900, -500, -3, 5, 500, 900])
def test_the_scale_of_the_data_does_not_matter(exponent):
    x = np.random.default_rng(3).random((40, 6))
    for kind in ("knn:5", "cosine:5"):
        assert exactly(quietly(np.ldexp(x, exponent), kind), quietly(x, kind))
    each = np.random.default_rng(4).integers(-500, 500, (40, 1))
    assert exactly(quietly(np.ldexp(x, each), "cosine:5"), quietly(x, "cosine:5"))


def test_neighbours_far_from_zero_are_found():
    x = np.random.default_rng(5).integers(0, 50, (60, 4)).astype(float)
    # Scores of 10¹⁸ say nothing about distances of 10²; the differences do.
    assert exactly(quietly(x + 1e9, "knn:4"), quietly(x, "knn:4"))


def test_rows_in_another_order_have_the_same_graph():
    x, order = np.random.default_rng(6).random((50, 3)), np.random.default_rng(7).permutation(50)
    for kind in ("knn:4", "cosine:4"):
        a, b = quietly(x, kind).toarray(), quietly(x[order], kind).toarray()
        np.testing.assert_allclose(b, a[np.ix_(order, order)], rtol=1e-12)


# --- odd rows -----------------------------------------------------------------------------------------------


@example(copies=7, others=1)
@example(copies=8, others=1)
@given(copies=st.integers(2, 12), others=st.integers(8, 12))
@settings(max_examples=10, deadline=None)
def test_equal_rows_are_joined_with_weight_one(copies, others):
    x = np.concatenate([np.full((copies, 2), 3.0), np.random.default_rng(8).random((others, 2))])
    if len(x) < 8:
        return
    a = quietly(x, "knn:4,normalize=none").toarray()
    assert np.isfinite(a).all()
    np.testing.assert_array_equal(a[:copies, :copies][a[:copies, :copies] > 0], 1.0)
    assert (a[:copies, :copies] > 0).any(axis=1).all()
    if copies > 7:  # their scale is zero
        assert not a[:copies, copies:].any()


def test_rows_all_alike():
    a = nmfkit.similarity(np.ones((30, 3)), "knn:2,normalize=none").toarray()
    want = np.zeros((30, 30))
    want[:, :2] = want[:2] = 1  # the first two, and the third of theirs
    np.fill_diagonal(want, 0)
    np.testing.assert_array_equal(a, want)


def test_rows_of_zeros_have_no_direction():
    x = np.random.default_rng(9).random((20, 4))
    x[[3, 11]] = 0
    with pytest.warns(Caution, match=r"2 of 20 rows have no edge, the first is row 3"):
        a = nmfkit.similarity(x, "cosine:3")
    degree = np.diff(a.indptr)
    assert sorted(np.flatnonzero(degree == 0)) == [3, 11]
    assert np.isfinite(a.data).all()


def test_right_angles_are_no_similarity():
    # Products of rounded numbers that would cancel: what is left is no neighbour.
    x = np.array([[0.1, 0.3], [-0.3, 0.1], [0.1, 0.3], [-0.9, 0.3]]) / 3
    a = nmfkit.similarity(x, "cosine:3,normalize=none").toarray()
    np.testing.assert_array_equal(a > 0, np.array([[0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]], bool))
    assert Angle(2).worst > -1e-13


# --- peers and real data ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "metric"), [("knn", "euclidean"), ("cosine", "cosine")])
def test_neighbours_are_those_of_scikit_learn(kind, metric):
    neighbors = pytest.importorskip("sklearn.neighbors")
    x = np.random.default_rng(10).random((300, 8))
    peer = neighbors.NearestNeighbors(n_neighbors=6, metric=metric, algorithm="brute").fit(x)
    near = peer.kneighbors_graph().toarray() > 0
    a = nmfkit.similarity(x, f"{kind}:6,normalize=none").toarray()
    np.testing.assert_array_equal(a > 0, near | near.T)
    if kind == "cosine":
        full = peer.kneighbors_graph(mode="distance").toarray()
        np.testing.assert_allclose(a[near], 1 - full[near], rtol=1e-12)


def floor(a, rank):
    """The relative residual of the best matrix of such a rank."""
    n = a.shape[0]
    found = eigh(a.toarray(), subset_by_index=(n - rank, n - 1), eigvals_only=True)
    return np.sqrt(1 - np.sum(found**2) / np.sum(a.data**2))


def test_the_graph_of_digits():
    a = nmfkit.similarity("sample:digits")
    assert a.shape == (1797, 1797)
    assert a.nnz == 27070
    assert connected_components(a)[0] == 1
    (low,) = sp.linalg.eigsh(a, 1, which="SA", return_eigenvectors=False)
    (high,) = sp.linalg.eigsh(a, 1, which="LA", return_eigenvectors=False)
    assert high == pytest.approx(1, abs=1e-12)
    assert low == pytest.approx(-0.3654, abs=1e-4)
    assert floor(a, 10) == pytest.approx(0.9612, abs=5e-5)
    assert nmfkit.similarity("sample:digits", "cosine").nnz == 27510


def test_the_graph_of_images(data_dir):
    a = nmfkit.similarity(data_dir / "images/COIL20.mat", key="X")
    assert (a.shape, a.nnz) == ((1440, 1440), 19428)
    assert floor(a, 20) == pytest.approx(0.9242, abs=5e-5)


def test_the_graph_of_documents(data_dir):
    with pytest.warns(Caution, match="5 of 7,094 rows"):
        a = nmfkit.similarity(data_dir / "documents/classic.mat", "cosine")
    assert a.nnz == 144376
    assert exactly(a, a.T.tocsr())
