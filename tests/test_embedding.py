"""What an embedding keeps of neighbourhoods: scikit-learn's measure, the same however rows are cut into blocks."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from nmfkit import open_source
from nmfkit.affinity.search import Sizes
from nmfkit.embedding import by_class as by_class_module
from nmfkit.embedding import continuity, kmeans_agreement, knn_accuracy, quality, trustworthiness
from nmfkit.embedding.matrices import Viewed, matrix_of
from nmfkit.embedding.preserved import preserved
from nmfkit.errors import DataError, UsageError
from nmfkit.loop import Watcher
from nmfkit.preprocessing import Shifted

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.tuples(st.integers(50, 2000), st.integers(3, 20), st.integers(200, 2000))
"""Bytes of a block, rows of a call, bytes of scores."""


def pair(seed, least=3):
    """A matrix without equal distances, one with some of its neighbourhoods, and a number of neighbours."""
    rng = np.random.default_rng(seed)
    m = int(rng.integers(least, 40))
    x = rng.normal(size=(m, int(rng.integers(1, 6))))
    w = x[:, :2] + rng.choice([0.0, 0.1, 2.0]) * rng.normal(size=(m, min(2, x.shape[1])))
    return x, w, int(rng.integers(1, (m + 1) // 2))


def tied(seed):
    """Whole numbers, many distances alike and many rows, too."""
    rng = np.random.default_rng(seed)
    m = int(rng.integers(3, 30))
    return rng.integers(0, 3, (m, 2)).astype(float), rng.integers(0, 3, (m, 2)).astype(float), 1 + (m - 1) // 4


def squared(x):
    return np.array([[np.sum((a - b) ** 2) for b in x] for a in x])


def order(x):
    """All others of each row from the nearest to the farthest, of equals the first one first."""
    d, m = squared(x), len(x)
    return np.array([sorted((j for j in range(m) if j != i), key=lambda j: (d[i, j], j)) for i in range(m)])


def oracle(x, w, k):
    """The formula, one pair after the other."""
    m, far, near = len(x), order(x), order(w)
    excess = sum(max(0, far[i].tolist().index(j) + 1 - k) for i in range(m) for j in near[i, :k])
    return 1 - 2 / (m * k * (2 * m - 3 * k - 1)) * excess


def bounds(x, w, k):
    """What ties could make of it at least and at most."""
    dx, dw, m = squared(x), squared(w), len(x)
    excess = np.zeros(2)
    for i in range(m):
        others = np.flatnonzero(np.arange(m) != i)
        away, mark = dx[i, others], np.sort(dw[i, others])[k - 1]
        sure, tied_ones = (others[side] for side in (dw[i, others] < mark, dw[i, others] == mark))
        first, last = (np.sum(one(away[:, None], dx[i]), axis=0) for one in (np.less, np.less_equal))
        for at, rank in enumerate((first + 1, last)):
            past = np.maximum(rank - k, 0)
            chosen = np.sort(past[tied_ones])[:: -1 if at else 1][: k - len(sure)]
            excess[at] += np.sum(past[sure]) + np.sum(chosen)
    return 1 - 2 / (m * k * (2 * m - 3 * k - 1)) * excess[::-1]


def cut(x, w, counts, sizes):
    return preserved(matrix_of(x, "x"), matrix_of(w, "w"), counts, "X", Watcher(), Sizes(*sizes))


# --- the measure --------------------------------------------------------------------------------------------


@given(SEEDS)
def test_it_is_that_of_scikit_learn(seed):
    manifold = pytest.importorskip("sklearn.manifold", reason="scikit-learn is not installed")
    x, w, k = pair(seed)
    assert trustworthiness(x, w, k) == pytest.approx(manifold.trustworthiness(x, w, n_neighbors=k), abs=1e-12)
    assert continuity(x, w, k) == pytest.approx(manifold.trustworthiness(w, x, n_neighbors=k), abs=1e-12)


@given(SEEDS)
def test_of_equal_distances_the_first_row_is_nearer(seed):
    x, w, k = tied(seed)
    assert trustworthiness(x, w, k) == pytest.approx(oracle(x, w, k), abs=1e-12)
    assert continuity(x, w, k) == pytest.approx(oracle(w, x, k), abs=1e-12)


@given(SEEDS)
def test_scikit_learn_breaks_ties_otherwise_but_within_what_they_allow(seed):
    manifold = pytest.importorskip("sklearn.manifold", reason="scikit-learn is not installed")
    x, w, k = tied(seed)
    least, most = bounds(x, w, k) + np.array([-1e-12, 1e-12])
    assert least <= trustworthiness(x, w, k) <= most
    assert least <= manifold.trustworthiness(x, w, n_neighbors=k) <= most


@settings(max_examples=40)
@given(SEEDS, SIZES, st.booleans())
def test_blocks_of_any_size_give_the_same_to_the_bit(seed, sizes, ties):
    x, w, k = tied(seed) if ties else pair(seed)
    # Rounding of products is large beside the distances: exact ones must decide.
    x = x * 1e-7 + 1.0
    counts = tuple(range(1, k + 1))
    assert cut(x, w, counts, sizes) == cut(x, w, counts, (2**20, 1000, 2**20))
    assert cut(x, w, (k,), sizes).trustworthiness[0] == trustworthiness(x, w, k)


@settings(max_examples=12)
@given(SEEDS, SIZES)
def test_sparse_is_dense(seed, sizes):
    x, w, k = tied(seed)
    assert cut(sp.csr_array(x), sp.coo_array(w), (k,), sizes) == cut(x, w, (k,), (2**20, 1000, 2**20))


@given(SEEDS)
def test_the_order_of_rows_does_not_matter(seed):
    x, w, k = pair(seed)
    turned = np.random.default_rng(seed).permutation(len(x))
    assert trustworthiness(x[turned], w[turned], k) == trustworthiness(x, w, k)


@given(SEEDS, st.booleans())
def test_an_isometry_keeps_everything(seed, ties):
    x, _, k = tied(seed) if ties else pair(seed)
    n = x.shape[1]
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]
    moved = 4.0 * x[:, ::-1] if ties else x @ rotation + 3.0
    assert (trustworthiness(x, moved, k), continuity(x, moved, k)) == (1.0, 1.0)


@given(SEEDS)
def test_several_numbers_of_neighbours_are_each_alone(seed):
    x, w, k = pair(seed)
    counts = sorted({1, (k + 1) // 2, k})
    assert trustworthiness(x, w, counts) == {one: trustworthiness(x, w, one) for one in counts}
    assert continuity(x, w, counts) == {one: continuity(x, w, one) for one in counts}


def test_what_exchanges_near_and_far_is_far_below_one():
    x = np.arange(40.0)[:, None]
    mixed = np.random.default_rng(0).permutation(40).astype(float)[:, None]
    assert trustworthiness(x, mixed) < 0.7
    assert trustworthiness(x, np.ones((40, 1))) == pytest.approx(oracle(x, np.ones((40, 1)), 5))


def test_memory_is_that_of_tiles():
    rng = np.random.default_rng(1)
    x, w = rng.random((4000, 20)), rng.random((4000, 3))
    tracemalloc.start()
    try:
        trustworthiness(x, w, sample="all")
        assert tracemalloc.get_traced_memory()[1] < 4000 * 4000 * 8 / 4
    finally:
        tracemalloc.stop()


def test_rows_in_a_file_are_rows(tmp_path):
    x, w, k = pair(5, least=30)
    np.save(tmp_path / "x.npy", x)
    assert trustworthiness(tmp_path / "x.npy", w.tolist(), k) == trustworthiness(open_source(x), w, k)


def test_one_row_for_all_leaves_distances_as_they_are():
    x, w, k = tied(3)
    row = np.array([5.0, -2.0])
    source = Viewed(matrix_of(sp.csr_array(x), "x"), lambda block: Shifted(block, row))
    assert source.is_sparse
    assert preserved(source, matrix_of(w, "w"), (k,), "view", Watcher()).trustworthiness == (
        trustworthiness(x + row, w, k),
    )


# --- rows that are drawn ------------------------------------------------------------------------------------


def test_a_sample_is_drawn_by_its_seed_and_ranks_are_those_within_it():
    x, w = np.random.default_rng(2).random((200, 4)), np.random.default_rng(3).random((200, 2))
    found = trustworthiness(x, w, sample=60)
    assert found == trustworthiness(x, w, sample=60) == trustworthiness(sp.csr_array(x), w, sample="60")
    assert found != trustworthiness(x, w, sample=60, seed=1)
    some = np.sort(np.random.default_rng(0).choice(200, 60, replace=False, shuffle=False))
    assert found == trustworthiness(x[some], w[some])
    whole = trustworthiness(x, w)
    assert [trustworthiness(x, w, sample=s) for s in ("all", 0, 200, 10**6)] == [whole] * 4


def test_the_usual_sample_is_3000_rows():
    x = np.random.default_rng(4).random((3100, 2))
    assert trustworthiness(x, x[:, :1]) == trustworthiness(x, x[:, :1], sample=3000)
    assert trustworthiness(x[:3000], x[:3000, :1]) == trustworthiness(x[:3000], x[:3000, :1], sample="all")


# --- what is refused ----------------------------------------------------------------------------------------

TEN = np.arange(20.0).reshape(10, 2)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "said"),
    [
        ((TEN, TEN, 5), {}, UsageError, "neighbours 5: .* of 10 rows need fewer than 5 neighbours"),
        ((TEN, TEN, [2, 5, 7]), {}, UsageError, "neighbours 5, 7: "),
        ((TEN, TEN, 4), {"sample": 8}, UsageError, "neighbours 4: .* of 8 rows"),
        ((TEN, TEN[1:], 2), {}, UsageError, "x has 10 rows and w has 9"),
        ((TEN, TEN, 0), {}, UsageError, "neighbours '0' is not a whole number ≥ 1"),
        ((TEN, TEN, True), {}, UsageError, "neighbours 'True'"),
        ((TEN, TEN, "3,x"), {}, UsageError, "neighbours 'x'"),
        ((TEN, TEN, []), {}, UsageError, "neighbours names no number"),
        ((TEN, TEN, 2), {"sample": -1}, UsageError, "sample '-1'"),
        ((TEN, np.where(TEN == 7, np.nan, TEN), 2), {}, DataError, "w: NaN at row 3, column 1"),
        ((np.where(TEN == 8, np.inf, TEN), TEN, 2), {}, DataError, "x: an infinite value at row 4, column 0"),
        ((TEN[0], TEN, 2), {}, DataError, "x: "),
    ],
)  # fmt: skip
def test_what_has_no_measure(arguments, options, error, said):
    for measure in (trustworthiness, continuity):
        with pytest.raises(error, match=said):
            measure(*arguments, **options)


# --- known classes ------------------------------------------------------------------------------------------


def blobs(m=90, apart=9.0):
    rng = np.random.default_rng(6)
    codes = np.arange(m) % 3
    return rng.normal(size=(m, 4)) + apart * np.eye(4)[codes], codes


def test_classes_that_lie_apart_are_told():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    w, codes = blobs()
    names = [f"class {c}" for c in codes]
    assert knn_accuracy(w, names) == 1.0
    found = kmeans_agreement(w, names)
    assert (found.ari, found.ami, found.accuracy) == (1.0, pytest.approx(1.0), 1.0)


def test_k_nn_accuracy_is_that_of_scikit_learn():
    model_selection = pytest.importorskip("sklearn.model_selection", reason="scikit-learn is not installed")
    from sklearn.neighbors import KNeighborsClassifier

    w, codes = blobs(apart=1.5)
    wanted = []
    for seed in range(4):
        parts = model_selection.StratifiedKFold(5, shuffle=True, random_state=seed)
        wanted.append(model_selection.cross_val_score(KNeighborsClassifier(4), w, codes, cv=parts).mean())
    assert len(set(wanted)) > 1
    assert [knn_accuracy(w, codes, 4, seed=seed) for seed in range(4)] == pytest.approx(wanted, abs=1e-12)


def test_k_means_is_that_of_scikit_learn():
    cluster = pytest.importorskip("sklearn.cluster", reason="scikit-learn is not installed")
    from sklearn import metrics

    w, codes = blobs(apart=1.5)
    found = cluster.KMeans(3, n_init=10, random_state=0).fit_predict(w)
    ours = kmeans_agreement(w, codes)
    assert ours.ari == pytest.approx(metrics.adjusted_rand_score(codes, found), abs=1e-12)
    assert ours.nmi == pytest.approx(metrics.normalized_mutual_info_score(codes, found), abs=1e-9)
    assert ours.ami == pytest.approx(metrics.adjusted_mutual_info_score(codes, found), abs=1e-12)


def test_rows_without_a_class_and_classes_of_few_rows_are_left_out():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    w, codes = blobs()
    some = np.where(np.arange(90) < 60, codes, -1)
    assert knn_accuracy(w, some) == knn_accuracy(w[:60], codes[:60])
    few = codes.copy()
    few[:4] = 7
    found = quality(w, w, few, neighbours=3).classes
    assert (found.rows, found.knn.rows, found.kmeans.clusters) == (90, 86, 4)
    assert found.notes == ("4 rows of classes of fewer than 5 are left out of k-NN accuracy",)
    with pytest.raises(UsageError, match="two classes of 5 rows or more"):
        knn_accuracy(w, np.arange(90))
    alone = quality(w, w, np.zeros(90, int)).classes
    assert alone.knn is None
    assert "two classes" in alone.notes[0]


def test_rows_that_are_all_alike_have_clusters_too():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    found = kmeans_agreement(np.ones((30, 2)), np.arange(30) % 3)
    assert found.clusters == 1
    assert found.ami == pytest.approx(0.0, abs=1e-12)


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setattr(by_class_module, "find_spec", lambda name: None)
    w, codes = blobs()
    for measure in (knn_accuracy, kmeans_agreement):
        with pytest.raises(UsageError, match=r'pip install "nmfkit\[sklearn\]"'):
            measure(w, codes)
    found = quality(w, w, codes)
    assert (found.classes.knn, found.classes.kmeans) == (None, None)
    assert "scikit-learn is not installed" in found.classes.notes[0]
    assert found.preserved[0].trustworthiness == (1.0,)


@pytest.mark.parametrize(
    ("classes", "error", "said"),
    [
        ([0, 1], UsageError, "there are 2 labels and 90 rows"),
        ([-1] * 90, UsageError, "none of the 90 rows has a class"),
    ],
    ids=str,
)
def test_classes_that_do_not_fit(classes, error, said):
    w, _ = blobs()
    with pytest.raises(error, match=said):
        quality(w, w, classes)
    with pytest.raises(error, match=said):
        knn_accuracy(w, classes)


def test_tables_and_arrays_of_numbers_are_taken_as_they_are():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(3)
    x, w = rng.random((40, 5)), rng.random((40, 2))
    tables = pandas.DataFrame(x, columns=list("abcde")), pandas.DataFrame(w)
    assert trustworthiness(*tables, neighbours=np.array([3, 6])) == trustworthiness(x, w, neighbours=[3, 6])
    classes = ["a", "b"] * 20
    assert quality(*tables, pandas.Series(classes)) == quality(x, w, classes)
    with pytest.raises(UsageError, match="x is no matrix of numbers"):
        trustworthiness(pandas.DataFrame({"a": ["one"] * 40}), w)
    with pytest.raises(UsageError, match="w is no matrix of numbers"):
        trustworthiness(x, [[1.0], [2.0, 3.0]])
